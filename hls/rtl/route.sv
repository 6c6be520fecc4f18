// Scores of all experts, the top_k best of every token, and the expert queues, as
// gearshift_hls/golden.py `_route` and gearshift_hls/descriptor.py `Route` define them.
//
// Interface: `start` for a cycle, the descriptor's words stable until `done` (a cycle, everything
// handed to the writer); reader and writer as in memory_pkg. Reads the weights, the biases and the
// tokens, each in one request.
// Latency: that of reading the weights, about 100, and about three cycles an expert at the end.
// Initiation interval: a token experts / 4 x channels / LINE, or its experts if they are more.
// Resources aimed at, not measured: those of route_scores, route_choice and route_queues.
module route
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE = BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 16 * LINE
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,
    input  logic [31:0] words[WORDS],
    output logic        done,
    output logic        fault,
    output logic [BUILD.max_experts-1:0] used,  // experts that were chosen so far

    output logic                 read_request_valid,
    input  logic                 read_request_ready,
    output request_t             read_request,
    input  logic                 read_valid,
    output logic                 read_ready,
    input  logic [WORD_BITS-1:0] read_data,

    output logic                 write_request_valid,
    input  logic                 write_request_ready,
    output request_t             write_request,
    output logic                 write_valid,
    input  logic                 write_ready,
    output logic [WORD_BITS-1:0] write_data,
    input  logic                 write_idle
);
  localparam int unsigned LINE_SHIFT = $clog2(LINE);
  localparam int unsigned PLACE_BITS = $clog2(BUILD.max_norm_channels / LINE);
  localparam int unsigned EXPERT_BITS = $clog2(BUILD.max_experts);
  localparam int unsigned TOKEN_BITS = $clog2(BUILD.max_tokens);
  localparam int unsigned CHOICE_BITS = $clog2(BUILD.max_top_k);
  localparam int unsigned LOGIT_BITS = 43;  // 2^30 x channels, and 2^41 for the bias

  assign fault = 1'b0;  // no data is illegal
  wire unused_idle = write_idle;  // nothing that was written is read again

  wire [TOKEN_BITS-1:0] last_token = TOKEN_BITS'(words[WORD_ROUTE_TOKENS] - 1);
  wire [EXPERT_BITS-1:0] last_expert = EXPERT_BITS'(words[WORD_ROUTE_EXPERTS] - 1);
  wire [PLACE_BITS-1:0] last_word = PLACE_BITS'((words[WORD_ROUTE_CHANNELS] >> LINE_SHIFT) - 1);

  // --- requests to read -------------------------------------------------------------------------
  typedef enum logic [1:0] {
    NOTHING,
    WEIGHTS,
    BIASES,
    TOKENS
  } asking_t;

  asking_t asking;
  logic [23:0] weight_lines, token_lines;
  wire [23:0] bias_lines = 24'((words[WORD_ROUTE_EXPERTS] + LINE / 4 - 1) >> (LINE_SHIFT - 2));
  wire [11:0] row_lines = 12'(words[WORD_ROUTE_CHANNELS] >> (LINE_SHIFT - 1));

  assign read_request_valid = asking != NOTHING;
  always_comb begin
    case (asking)
      WEIGHTS: read_request = {words[WORD_ROUTE_WEIGHTS], weight_lines};
      BIASES:  read_request = {words[WORD_ROUTE_BIASES], bias_lines};
      default: read_request = {words[WORD_ROUTE_NORMALISED], token_lines};
    endcase
  end

  always_ff @(posedge clock) begin
    weight_lines <= row_lines * words[WORD_ROUTE_EXPERTS][11:0];
    token_lines <= row_lines * words[WORD_ROUTE_TOKENS][11:0];
    if (read_request_valid && read_request_ready) begin
      case (asking)
        WEIGHTS: asking <= BIASES;
        BIASES: asking <= TOKENS;
        default: asking <= NOTHING;
      endcase
    end
    if (start) asking <= WEIGHTS;
    if (reset) asking <= NOTHING;
  end

  // --- scores, choices, queues --------------------------------------------------------------------
  logic logits_valid, logits_ready;
  logic [3:0][LOGIT_BITS-1:0] logits;
  logic entry_valid, entry_ready, entry_last;
  logic [TOKEN_BITS-1:0] entry_token;
  logic [EXPERT_BITS-1:0] entry_expert;
  logic [15:0] entry_score;

  route_scores #(
      .BUILD(BUILD),
      .LOGIT_BITS(LOGIT_BITS)
  ) scores (
      .clock,
      .reset,
      .start,
      .last_word,
      .last_expert,
      .read_valid,
      .read_ready,
      .read_data,
      .logits_valid,
      .logits_ready,
      .logits
  );

  route_choice #(
      .BUILD(BUILD),
      .LOGIT_BITS(LOGIT_BITS)
  ) choice (
      .clock,
      .reset,
      .start,
      .last_token,
      .last_expert,
      .last_choice(CHOICE_BITS'(words[WORD_ROUTE_TOP_K] - 1)),
      .multiplier(words[WORD_ROUTE_MULTIPLIER][15:0]),
      .shift(words[WORD_ROUTE_SHIFT][5:0]),
      .prune(words[WORD_ROUTE_PRUNE][15:0]),
      .logits_valid,
      .logits_ready,
      .logits,
      .entry_valid,
      .entry_ready,
      .entry_token,
      .entry_expert,
      .entry_score,
      .entry_last
  );

  route_queues #(
      .BUILD(BUILD)
  ) expert_queues (
      .clock,
      .reset,
      .start,
      .last_token,
      .last_expert,
      .queues(words[WORD_ROUTE_QUEUES]),
      .entry_valid,
      .entry_ready,
      .entry_token,
      .entry_expert,
      .entry_score,
      .entry_last,
      .write_request_valid,
      .write_request_ready,
      .write_request,
      .write_valid,
      .write_ready,
      .write_data,
      .done,
      .used
  );
endmodule
