// LayerNorm of residual rows, as gearshift_hls/golden.py `_norm` defines it.
//
// Three passes over a row, each LANES channels a cycle (a word of int32), rows behind each other in
// all three at once: the mean; the distances from it and their squares; the normalised values and
// the results. Rows wait between the passes in two queues of two rows of the greatest width.
//
// Interface: `start` for a cycle, the descriptor's words stable until `done` (a cycle, everything
// handed to the writer); reader and writer as in memory_pkg. Reads the parameters, then row by row;
// writes a row's normalised values if asked, then its results.
// Latency: about 40 cycles and three times a row's; initiation interval: channels / LANES a row.
// Resources aimed at, not measured: LANES x 2 DSP a square = 32 with 16 lanes, 5 for a row's own
// numbers, the queues in LUTs; and norm_results.
module norm
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
  assign fault = 1'b0;  // no data is illegal
  wire unused_idle = write_idle;  // nothing that was written is read again

  localparam int unsigned LANES = WORD_BITS / 32;
  localparam int unsigned LEVELS = $clog2(LANES);
  localparam int unsigned GROUPS = BUILD.max_norm_channels / LANES;  // words of the widest row
  localparam int unsigned GROUP_BITS = $clog2(GROUPS);
  localparam int unsigned LINE_SHIFT = $clog2(LINE);
  localparam int unsigned CHANNEL_BITS = $clog2(BUILD.max_norm_channels) + 1;
  localparam int unsigned VALUE = 27;  // bits of a residual value that a norm tells apart
  localparam int unsigned SUM_BITS = VALUE + $clog2(BUILD.max_norm_channels);
  localparam int unsigned MEAN_BITS = SUM_BITS + 1;
  localparam int unsigned SCALE_BITS = 22;

  wire [31:0] rows = words[WORD_NORM_ROWS];
  wire [CHANNEL_BITS-1:0] channels = words[WORD_NORM_CHANNELS][CHANNEL_BITS-1:0];
  wire [CHANNEL_BITS-1:0] true_channels = words[WORD_NORM_TRUE_CHANNELS][CHANNEL_BITS-1:0];
  wire [GROUP_BITS-1:0] last_group = GROUP_BITS'((channels >> LEVELS) - 1'b1);

  typedef logic signed [VALUE-1:0] value_t;

  function automatic value_t saturate_value(logic signed [MEAN_BITS:0] value);
    if (value[MEAN_BITS:VALUE-1] == '0 || value[MEAN_BITS:VALUE-1] == '1) return value_t'(value);
    return value[MEAN_BITS] ? {1'b1, {VALUE - 1{1'b0}}} : {1'b0, {VALUE - 1{1'b1}}};
  endfunction

  // --- requests to read -------------------------------------------------------------------------
  logic asks_parameters, asks_rows;
  logic [31:0] next_x, rows_to_ask;

  assign read_request_valid = asks_parameters || asks_rows;
  assign read_request.address = asks_parameters ? words[WORD_NORM_PARAMETERS] : next_x;
  assign read_request.lines = 24'(channels) << (asks_parameters ? 3 : 2) >> LINE_SHIFT;

  always_ff @(posedge clock) begin
    if (read_request_valid && read_request_ready) begin
      asks_parameters <= 1'b0;
      if (!asks_parameters) begin
        next_x <= next_x + (32'(channels) << 2);
        rows_to_ask <= rows_to_ask - 1'b1;
        asks_rows <= rows_to_ask != 1;
      end
    end
    if (start) begin
      asks_parameters <= 1'b1;
      asks_rows <= 1'b1;
      next_x <= words[WORD_NORM_X];
      rows_to_ask <= rows;
    end
    if (reset) begin
      asks_parameters <= 1'b0;
      asks_rows <= 1'b0;
    end
  end

  // --- first pass: the mean -----------------------------------------------------------------------
  // Two of the widest rows, or what hides the pipelines of narrow ones.
  localparam int unsigned QUEUE = GROUPS < 32 ? 64 : 2 * GROUPS;
  localparam int unsigned ROOM_BITS = $clog2(QUEUE) + 1;
  localparam int unsigned MEAN_LATENCY = LEVELS + 1 + 4 + 1;  // from values to their row's mean

  logic loads;  // parameters come before the rows
  value_t [LANES-1:0] x, x_waiting;
  logic [MEAN_LATENCY:0] x_valid, x_last;
  logic [GROUP_BITS-1:0] x_group;
  logic [ROOM_BITS-1:0] x_room;  // groups that may still be taken
  logic signed [VALUE+LEVELS-1:0] sums[1:2*LANES-1];  // a tree: node i joins 2i and 2i + 1
  logic signed [SUM_BITS-1:0] sum;
  logic signed [SUM_BITS+27:0] sum_share;
  logic signed [MEAN_BITS-1:0] mean_found, mean;
  logic mean_valid, unused_x_ready, unused_x_valid, unused_mean_ready;
  logic x_take, sum_ended, second_issue, second_last;

  assign x_take = read_valid && read_ready && !loads;
  assign read_ready = loads || x_room != 0;

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_first
    always_ff @(posedge clock) begin
      x[lane] <= saturate_value((MEAN_BITS + 1)'($signed(read_data[32*lane+:32])));
    end
    assign sums[LANES+lane] = (VALUE + LEVELS)'($signed(x[lane]));
  end

  always_ff @(posedge clock) begin
    if (x_take) x_group <= x_group == last_group ? '0 : x_group + 1'b1;
    x_valid <= {x_valid[MEAN_LATENCY-1:0], x_take};
    x_last <= {x_last[MEAN_LATENCY-1:0], x_group == last_group};
    x_room <= x_room - ROOM_BITS'(x_take) + ROOM_BITS'(second_issue);
    for (int node = 1; node < int'(LANES); node++) sums[node] <= sums[2*node] + sums[2*node+1];
    // The row's sum stays until the next row's first words.
    if (x_valid[LEVELS]) begin
      sum <= (sum_ended ? '0 : sum) + SUM_BITS'(sums[1]);
      sum_ended <= x_last[LEVELS];
    end
    mean_found <= MEAN_BITS'((sum_share + $signed((SUM_BITS + 28)'(1 << 25))) >>> 26);
    if (start) begin
      x_group <= '0;
      x_room <= ROOM_BITS'(QUEUE);
      sum_ended <= 1'b1;
    end
    if (reset) x_valid <= '0;
  end

  multiply #(
      .A_BITS(SUM_BITS),
      .B_BITS(28)
  ) share_of_sum (
      .clock,
      .a(sum),
      .b({1'b0, words[WORD_NORM_RECIPROCAL][26:0]}),
      .product(sum_share)
  );

  fifo #(
      .WIDTH(VALUE * LANES),
      .DEPTH(QUEUE)
  ) x_queue (
      .clock,
      .reset,
      .in_valid(x_valid[0]),
      .in_ready(unused_x_ready),  // x_room keeps room
      .in_data(x),
      .out_valid(unused_x_valid),  // there with the mean
      .out_ready(second_issue),
      .out_data(x_waiting)
  );

  fifo #(
      .WIDTH(MEAN_BITS),
      .DEPTH(QUEUE / 2)
  ) means (
      .clock,
      .reset,
      .in_valid(x_valid[MEAN_LATENCY] && x_last[MEAN_LATENCY]),
      .in_ready(unused_mean_ready),  // a row has two groups or more
      .in_data(mean_found),
      .out_valid(mean_valid),
      .out_ready(second_issue && second_last),
      .out_data(mean)
  );

  // --- second pass: distances from the mean, their squares, the row's scale -----------------------------
  localparam int unsigned SQUARE_BITS = 2 * VALUE - 1;
  localparam int unsigned SQUARES_AT = 2 + 4 + LEVELS;  // a group's squares added
  localparam int unsigned VARIANCE_AT = SQUARES_AT + 2;
  localparam int unsigned ROOT_AT = VARIANCE_AT + 6;
  localparam int unsigned SCALE_AT = ROOT_AT + 5;

  logic [SCALE_AT:0] second_valid, second_ends;
  logic [GROUP_BITS-1:0] second_group;
  logic [ROOM_BITS-1:0] d_room;  // groups that may still be issued
  value_t [LANES-1:0] deviation, d_waiting;
  logic [SQUARE_BITS+LEVELS-1:0] squares[1:2*LANES-1];
  logic [62:0] square_sum;
  logic squares_ended;
  logic [61:0] variance;
  logic [17:0] root;
  logic [4:0] half, half_found, half_of_row;
  logic signed [36:0] root_product;
  logic [SCALE_BITS-1:0] scale_found, scale_of_row;
  logic scale_valid, unused_d_ready, unused_d_valid, unused_scale_ready;
  logic third_issue, third_last;

  assign second_last = second_group == last_group;
  assign second_issue = mean_valid && d_room != 0;
  assign second_valid[0] = second_issue;
  assign second_ends[0] = second_last;

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_second
    logic signed [MEAN_BITS:0] difference;
    logic counts;
    logic signed [2*VALUE-1:0] square;
    always_ff @(posedge clock) begin
      difference <= (MEAN_BITS + 1)'($signed(x_waiting[lane])) - (MEAN_BITS + 1)'(mean);
      counts <= CHANNEL_BITS'({second_group, LEVELS'(lane)}) < true_channels;
      deviation[lane] <= counts ? saturate_value(difference) : '0;
    end
    multiply #(
        .A_BITS(VALUE),
        .B_BITS(VALUE)
    ) squared (
        .clock,
        .a(deviation[lane]),
        .b(deviation[lane]),
        .product(square)
    );
    assign squares[LANES+lane] = (SQUARE_BITS + LEVELS)'(square[SQUARE_BITS-1:0]);
    wire unused = square[2*VALUE-1];  // a square has no sign
  end

  always_ff @(posedge clock) begin
    if (second_issue) second_group <= second_last ? '0 : second_group + 1'b1;
    second_valid[SCALE_AT:1] <= second_valid[SCALE_AT-1:0];
    second_ends[SCALE_AT:1] <= second_ends[SCALE_AT-1:0];
    d_room <= d_room - ROOM_BITS'(second_issue) + ROOM_BITS'(third_issue);
    for (int node = 1; node < int'(LANES); node++) begin
      squares[node] <= squares[2*node] + squares[2*node+1];
    end
    if (second_valid[SQUARES_AT]) begin
      square_sum <= (squares_ended ? 63'(words[WORD_NORM_EPSILON]) : square_sum)
          + 63'(squares[1]);
      squares_ended <= second_ends[SQUARES_AT];
    end
    variance <= square_sum[62] ? '1 : square_sum[61:0];
    scale_found <= SCALE_BITS'((root_product + 37'sd2048) >>> 12);
    if (start) begin
      second_group <= '0;
      d_room <= ROOM_BITS'(QUEUE);
      squares_ended <= 1'b1;
    end
    if (reset) second_valid[SCALE_AT:1] <= '0;
  end

  reciprocal_root root_of_variance (
      .clock,
      .total(variance),
      .root,
      .half
  );
  multiply #(
      .A_BITS(19),
      .B_BITS(18)
  ) scale_product (
      .clock,
      .a({1'b0, root}),
      .b({1'b0, words[WORD_NORM_ROOT][16:0]}),
      .product(root_product)
  );
  delay #(
      .WIDTH (5),
      .CYCLES(5)
  ) hold_half (
      .clock,
      .value(half),
      .delayed(half_found)
  );

  fifo #(
      .WIDTH(VALUE * LANES),
      .DEPTH(QUEUE)
  ) d_queue (
      .clock,
      .reset,
      .in_valid(second_valid[2]),
      .in_ready(unused_d_ready),  // d_room keeps room
      .in_data(deviation),
      .out_valid(unused_d_valid),  // there with the scale
      .out_ready(third_issue),
      .out_data(d_waiting)
  );

  fifo #(
      .WIDTH(SCALE_BITS + 5),
      .DEPTH(QUEUE / 2)
  ) scales (
      .clock,
      .reset,
      .in_valid(second_valid[SCALE_AT] && second_ends[SCALE_AT]),
      .in_ready(unused_scale_ready),
      .in_data({scale_found, half_found}),
      .out_valid(scale_valid),
      .out_ready(third_issue && third_last),
      .out_data({scale_of_row, half_of_row})
  );

  // --- third pass: normalised values and results ------------------------------------------------------
  norm_results #(
      .BUILD(BUILD),
      .VALUE(VALUE),
      .SCALE_BITS(SCALE_BITS)
  ) third (
      .clock,
      .reset,
      .start,
      .words,
      .done,
      .loads,
      .read_valid,
      .read_data,
      .scale_valid,
      .scale_of_row,
      .half_of_row,
      .deviations(d_waiting),
      .issue(third_issue),
      .last(third_last),
      .write_request_valid,
      .write_request_ready,
      .write_request,
      .write_valid,
      .write_ready,
      .write_data
  );
endmodule
