// The products of every token with the weights of every expert, and the biases: the logits.
//
// Weights and biases stay here for a command; two tokens have room, one arrives while the other is
// multiplied: a word of its channels with EXPERTS experts a cycle, group of experts by group.
//
// Interface: the reader's data: first the experts' weights, row by row, then the biases, then the
// tokens (`start` begins with the weights; sizes stable until the command's end). Groups of EXPERTS
// logits leave in order; behind the last expert of a token, the rest of its last group is anything.
// Latency: 10 from a token's last channels. Initiation interval: channels / LINE a group.
// Resources aimed at, not measured: LINE x EXPERTS = 128 DSP, 40 BRAM36.
module route_scores
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    parameter int unsigned LOGIT_BITS = 43,
    localparam int unsigned EXPERTS = 4,
    localparam int unsigned LINE = BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 16 * LINE,
    localparam int unsigned ROW_WORDS = BUILD.max_norm_channels / LINE,  // of the widest token
    localparam int unsigned PLACE_BITS = $clog2(ROW_WORDS),
    localparam int unsigned EXPERT_BITS = $clog2(BUILD.max_experts),
    localparam int unsigned GROUP_BITS = EXPERT_BITS - $clog2(EXPERTS)
) (
    input  logic                              clock,
    input  logic                              reset,
    input  logic                              start,
    input  logic [PLACE_BITS-1:0]             last_word,    // of a token
    input  logic [EXPERT_BITS-1:0]            last_expert,
    input  logic                              read_valid,
    output logic                              read_ready,
    input  logic [WORD_BITS-1:0]              read_data,
    output logic                              logits_valid,
    input  logic                              logits_ready,
    output logic [EXPERTS-1:0][LOGIT_BITS-1:0] logits
);
  localparam int unsigned LEVELS = $clog2(LINE);
  localparam int unsigned BIASES = WORD_BITS / 32;  // in a word
  localparam int unsigned BIAS_WORDS = (BUILD.max_experts + BIASES - 1) / BIASES;
  localparam int unsigned BIAS_BITS = BIAS_WORDS > 1 ? $clog2(BIAS_WORDS) : 1;
  localparam int unsigned SUM_BITS = 32 + LEVELS;

  wire [GROUP_BITS-1:0] last_group = last_expert[EXPERT_BITS-1-:GROUP_BITS];
  wire [BIAS_BITS-1:0] last_bias_word = BIAS_BITS'(last_expert >> $clog2(BIASES));

  // --- what arrives -----------------------------------------------------------------------------
  typedef enum logic [1:0] {
    WEIGHTS,
    BIAS,
    TOKENS
  } arriving_t;

  arriving_t arriving;
  logic [PLACE_BITS-1:0] place;
  logic [EXPERT_BITS-1:0] expert;
  logic [BIAS_BITS-1:0] bias_word;
  logic [BIAS_WORDS-1:0][WORD_BITS-1:0] bias_words;
  wire [BIAS_WORDS*BIASES-1:0][31:0] biases = bias_words;
  logic fill_slot, use_slot;
  logic [1:0] slots_full;
  logic filled, used_up;
  wire arrives = read_valid && read_ready;

  assign read_ready = arriving != TOKENS || slots_full != 2'd2;
  assign filled = arrives && arriving == TOKENS && place == last_word;

  always_ff @(posedge clock) begin
    if (arrives) begin
      if (arriving == BIAS) begin
        bias_words[bias_word] <= read_data;
        bias_word <= bias_word + 1'b1;
        if (bias_word == last_bias_word) arriving <= TOKENS;
      end else begin
        place <= place == last_word ? '0 : place + 1'b1;
        if (arriving == WEIGHTS && place == last_word) begin
          expert <= expert + 1'b1;
          if (expert == last_expert) arriving <= BIAS;
        end
        if (filled) fill_slot <= !fill_slot;
      end
    end
    slots_full <= slots_full + 2'(filled) - 2'(used_up);
    if (start) begin
      arriving <= WEIGHTS;
      place <= '0;
      expert <= '0;
      bias_word <= '0;
      fill_slot <= 1'b0;
      slots_full <= '0;
    end
    if (reset) slots_full <= '0;
  end

  // --- what is multiplied -----------------------------------------------------------------------
  localparam int unsigned PRODUCTS_AT = 3;
  localparam int unsigned SUMS_AT = PRODUCTS_AT + LEVELS;
  localparam int unsigned WAITING = 8;  // groups that the queue of logits holds
  localparam int unsigned COUNT_BITS = $clog2(WAITING) + 1;

  typedef struct packed {
    logic valid;
    logic first;  // of a group's steps
    logic last;
    logic [GROUP_BITS-1:0] group;
  } step_t;

  step_t [SUMS_AT+1:0] step;
  logic [PLACE_BITS-1:0] use_place;
  logic [GROUP_BITS-1:0] group;
  logic [COUNT_BITS-1:0] outstanding;  // groups that were begun and have not left
  logic issue, first, last;
  wire leaves = logits_valid && logits_ready;

  assign first = use_place == '0;
  assign last = use_place == last_word;
  assign issue = slots_full != 0 && (!first || outstanding != COUNT_BITS'(WAITING));
  assign used_up = issue && last && group == last_group;
  assign step[0] = {issue, first, last, group};

  always_ff @(posedge clock) begin
    step[SUMS_AT+1:1] <= step[SUMS_AT:0];
    if (issue) begin
      use_place <= last ? '0 : use_place + 1'b1;
      if (last) group <= group == last_group ? '0 : group + 1'b1;
      if (used_up) use_slot <= !use_slot;
    end
    outstanding <= outstanding + COUNT_BITS'(issue && first) - COUNT_BITS'(leaves);
    if (start) begin
      use_place <= '0;
      group <= '0;
      use_slot <= 1'b0;
      outstanding <= '0;
    end
    if (reset) for (int age = 1; age <= int'(SUMS_AT) + 1; age++) step[age].valid <= 1'b0;
  end

  logic [LINE-1:0][15:0] x_word, x;

  ram #(
      .WIDTH(WORD_BITS),
      .DEPTH(2 * ROW_WORDS)
  ) tokens (
      .clock,
      .write(arrives && arriving == TOKENS),
      .write_address({fill_slot, place}),
      .write_data(read_data),
      .read_address({use_slot, use_place}),
      .read_data(x_word)
  );

  always_ff @(posedge clock) x <= x_word;

  // --- an expert of the group a lane ----------------------------------------------------------------
  logic [EXPERTS-1:0][LOGIT_BITS-1:0] sums;
  logic unused_ready;

  for (genvar lane = 0; lane < int'(EXPERTS); lane++) begin : g_expert
    logic [LINE-1:0][15:0] w_word, w;
    logic signed [SUM_BITS-1:0] products[1:2*LINE-1];  // a tree: node i joins 2i and 2i + 1
    logic signed [31:0] product[LINE];
    logic signed [31:0] bias;
    logic signed [LOGIT_BITS-1:0] sum;
    wire [EXPERT_BITS-1:0] mine = {step[SUMS_AT-1].group, ($clog2(EXPERTS))'(lane)};

    ram #(
        .WIDTH(WORD_BITS),
        .DEPTH(ROW_WORDS << GROUP_BITS)
    ) weights (
        .clock,
        .write(arrives && arriving == WEIGHTS && expert[$clog2(EXPERTS)-1:0] == lane),
        .write_address({expert[EXPERT_BITS-1-:GROUP_BITS], place}),
        .write_data(read_data),
        .read_address({group, use_place}),
        .read_data(w_word)
    );

    for (genvar channel = 0; channel < int'(LINE); channel++) begin : g_channel
      assign products[LINE+channel] = SUM_BITS'(product[channel]);
    end

    always_ff @(posedge clock) begin
      w <= w_word;
      for (int channel = 0; channel < int'(LINE); channel++) begin
        product[channel] <= $signed(x[channel]) * $signed(w[channel]);
      end
      for (int node = 1; node < int'(LINE); node++) begin
        products[node] <= products[2*node] + products[2*node+1];
      end
      bias <= biases[mine];
      if (step[SUMS_AT].valid) begin
        sum <= (step[SUMS_AT].first ? LOGIT_BITS'(bias) <<< VALUE_BITS : sum)
            + LOGIT_BITS'(products[1]);
      end
    end
    assign sums[lane] = sum;
  end

  fifo #(
      .WIDTH(LOGIT_BITS * EXPERTS),
      .DEPTH(WAITING)
  ) waiting (
      .clock,
      .reset,
      .in_valid(step[SUMS_AT+1].valid && step[SUMS_AT+1].last),
      .in_ready(unused_ready),  // `outstanding` keeps room
      .in_data(sums),
      .out_valid(logits_valid),
      .out_ready(logits_ready),
      .out_data(logits)
  );
endmodule
