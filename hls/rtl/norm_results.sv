// The third pass of a norm: normalised values, and results with gain and offset.
//
// Interface: `start` begins; the parameters come first, half of a group's in a word of the reader
// (`loads` as long as they do); then groups of deviations, each row's with its scale, are taken
// with `issue` when `scale_valid`, `last` with the row's last. Writer as in memory_pkg; `done` (a
// cycle): everything is handed to it.
// Latency: 9 to the values, 15 to the results. Initiation interval: 1 group.
// Resources aimed at, not measured: LANES x (2 DSP a scaling, 1 a gain), the parameters in 12
// BRAM36.
module norm_results
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    parameter int unsigned VALUE = 27,       // bits of a deviation
    parameter int unsigned SCALE_BITS = 22,
    localparam int unsigned LINE = BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 16 * LINE,
    localparam int unsigned LANES = WORD_BITS / 32
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,
    input  logic [31:0] words[WORDS],
    output logic        done,

    output logic                 loads,  // parameters are still to come
    input  logic                 read_valid,
    input  logic [WORD_BITS-1:0] read_data,

    input  logic                        scale_valid,
    input  logic [SCALE_BITS-1:0]       scale_of_row,
    input  logic [4:0]                  half_of_row,
    input  logic [LANES-1:0][VALUE-1:0] deviations,
    output logic                        issue,
    output logic                        last,

    output logic                 write_request_valid,
    input  logic                 write_request_ready,
    output request_t             write_request,
    output logic                 write_valid,
    input  logic                 write_ready,
    output logic [WORD_BITS-1:0] write_data
);
  localparam int unsigned LEVELS = $clog2(LANES);
  localparam int unsigned GROUPS = BUILD.max_norm_channels / LANES;  // words of the widest row
  localparam int unsigned GROUP_BITS = $clog2(GROUPS);
  localparam int unsigned CHANNEL_BITS = $clog2(BUILD.max_norm_channels) + 1;
  localparam int unsigned VALUES_AT = 1 + 4 + 4;
  localparam int unsigned RESULTS_AT = VALUES_AT + 2 + 4;

  wire [CHANNEL_BITS-1:0] channels = words[WORD_NORM_CHANNELS][CHANNEL_BITS-1:0];
  wire [CHANNEL_BITS-1:0] true_channels = words[WORD_NORM_TRUE_CHANNELS][CHANNEL_BITS-1:0];
  wire with_normalised = words[WORD_NORM_NORMALISED] != 0;
  wire [GROUP_BITS-1:0] last_group = GROUP_BITS'((channels >> LEVELS) - 1'b1);

  // What is unused of these is the other passes', or a record's zeros.
  logic unused;
  always_comb begin
    unused = ^read_data;
    for (int unsigned word = 0; word < WORDS; word++) unused ^= ^words[word];
  end

  // --- parameters: half of a group's in a word --------------------------------------------------
  localparam int unsigned HALF = LANES / 2;

  typedef struct packed {
    logic signed [15:0] gain;
    logic signed [31:0] offset;
  } parameter_t;

  logic [GROUP_BITS:0] load_place;
  logic [GROUP_BITS-1:0] parameter_group;
  parameter_t [HALF-1:0] loaded;
  parameter_t [1:0][HALF-1:0] parameters;
  wire load = read_valid && loads;

  for (genvar record = 0; record < int'(HALF); record++) begin : g_record
    assign loaded[record] = {
      read_data[64*record+8*NORM_RECORD_GAIN+:16], read_data[64*record+8*NORM_RECORD_OFFSET+:32]
    };
  end

  for (genvar half = 0; half < 2; half++) begin : g_parameters
    ram #(
        .WIDTH(HALF * $bits(parameter_t)),
        .DEPTH(GROUPS)
    ) half_of_group (
        .clock,
        .write(load && load_place[0] == half),
        .write_address(load_place[GROUP_BITS:1]),
        .write_data(loaded),
        .read_address(parameter_group),
        .read_data(parameters[half])
    );
  end

  always_ff @(posedge clock) begin
    if (load) begin
      load_place <= load_place + 1'b1;
      if (load_place == {last_group, 1'b1}) loads <= 1'b0;
    end
    if (start) begin
      load_place <= '0;
      loads <= 1'b1;
    end
  end

  // --- values and results ------------------------------------------------------------------------
  typedef struct packed {
    logic valid;
    logic ends;  // the row
    logic [GROUP_BITS-1:0] group;
  } step_t;

  step_t [RESULTS_AT:0] step;
  logic [GROUP_BITS-1:0] group;
  logic [LANES-1:0][VALUE-1:0] d;
  logic [SCALE_BITS-1:0] scale;
  logic [5:0] scale_shift, value_shift;
  logic [LANES-1:0][15:0] normalised;
  logic [LANES-1:0][7:0] results;
  logic row_fits;

  assign last = group == last_group;
  assign issue = scale_valid && (group != 0 || row_fits);
  assign step[0] = {issue, last, group};
  assign parameter_group = step[VALUES_AT-1].group;

  delay #(
      .WIDTH (6),
      .CYCLES(4)
  ) hold_scale_shift (
      .clock,
      .value(scale_shift),
      .delayed(value_shift)
  );

  always_ff @(posedge clock) begin
    if (issue) group <= last ? '0 : group + 1'b1;
    step[RESULTS_AT:1] <= step[RESULTS_AT-1:0];
    d <= deviations;
    scale <= scale_of_row;
    scale_shift <= 6'd6 + 6'(half_of_row);
    if (start) group <= '0;
    if (reset) for (int age = 1; age <= int'(RESULTS_AT); age++) step[age].valid <= 1'b0;
  end

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_third
    parameter_t mine;
    logic signed [VALUE+SCALE_BITS:0] scaled;
    logic signed [15:0] value;
    logic signed [31:0] gained;
    logic signed [31:0] offset;
    logic signed [33:0] moved;
    logic signed [7:0] y;
    assign mine = parameters[lane/int'(HALF)][lane%int'(HALF)];
    assign normalised[lane] = value;
    multiply #(
        .A_BITS(VALUE),
        .B_BITS(SCALE_BITS + 1)
    ) scaling (
        .clock,
        .a($signed(d[lane])),
        .b({1'b0, scale}),
        .product(scaled)
    );
    shift_right #(
        .VALUE_BITS (VALUE + SCALE_BITS + 1),
        .RESULT_BITS(16)
    ) to_value (
        .clock,
        .value(scaled),
        .shift(value_shift),
        .result(value)
    );
    always_ff @(posedge clock) begin
      gained <= value * mine.gain;
      offset <= mine.offset;
      moved  <= 34'(gained) + 34'(offset);
    end
    shift_right #(
        .VALUE_BITS (34),
        .RESULT_BITS(8)
    ) to_result (
        .clock,
        .value(moved),
        .shift(words[WORD_NORM_SHIFT][5:0]),
        .result(y)
    );
    assign results[lane] =
        CHANNEL_BITS'({step[RESULTS_AT].group, LEVELS'(lane)}) < true_channels ? y : 8'd0;
  end

  norm_writer #(
      .BUILD(BUILD)
  ) writer (
      .clock,
      .reset,
      .start,
      .rows(words[WORD_NORM_ROWS]),
      .channels(16'(channels)),
      .with_normalised,
      .y_address(words[WORD_NORM_Y]),
      .normalised_address(words[WORD_NORM_NORMALISED]),
      .row_fits,
      .row_starts(issue && group == 0),
      .normalised_valid(step[VALUES_AT].valid && with_normalised),
      .normalised,
      .results_valid(step[RESULTS_AT].valid),
      .results_end(step[RESULTS_AT].ends),
      .results,
      .write_request_valid,
      .write_request_ready,
      .write_request,
      .write_valid,
      .write_ready,
      .write_data,
      .done
  );
endmodule
