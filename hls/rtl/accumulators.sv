// Partial sums of a pass: two banks of a row of int32 sums for every token.
//
// A row's products are added to what its place in its bank holds, shifted right by `fall`, or to
// nothing when it is fresh. The tag comes when the row enters the array.
// After the final tile sums of scores leave at once; others stay in the bank, which is read by
// `drain` while the other bank is filled.
//
// Latency: 1 from the sums of the array to `scores`; a drained place 2 cycles. Two
// rows of one place are LEAST_TILE_CYCLES or more apart. Initiation interval: 1. No stall.
// Resources aimed at: 2 x max_tokens x output_lanes x 4 bytes of block RAM (114 for ZCU104_BUILD).
module accumulators
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.output_lanes,
    localparam int unsigned SUM_BITS = 17 + $clog2(LANES),
    localparam int unsigned PLACE_BITS = $clog2(BUILD.max_tokens)
) (
    input  logic                            clock,
    input  logic                            reset,
    input  logic                            row_valid,
    input  tag_t                            row_tag,
    input  logic [4:0]                      row_fall,
    input  logic [LANES-1:0][SUM_BITS-1:0]  row_sums,  // ARRAY_LATENCY cycles later

    output logic                            scores_valid,
    output tag_t                            scores_tag,
    output logic [LANES-1:0][31:0]          scores,

    output logic                            complete,  // a cycle: a bank is ready to be drained
    input  logic                            drain_read,
    input  logic                            drain_bank,
    input  logic [PLACE_BITS-1:0]           drain_place,
    output logic [LANES-1:0][31:0]          drain_sums
);
  localparam int unsigned BITS = 32 * LANES;
  localparam int unsigned ARRAY_LATENCY = 6 + $clog2(LANES / 4);
  localparam int unsigned LEAD = 4;  // of a row's old sums before the new ones
  localparam int unsigned TAG_DELAY = ARRAY_LATENCY - LEAD;
  localparam int unsigned STEPS = LEAD + 1;

  logic [TAG_DELAY-1:0] arriving;
  tag_t late_tag;
  logic [4:0] late_fall;
  delay #(.WIDTH($bits(tag_t) + 5), .CYCLES(TAG_DELAY)) tags (
      .clock, .value({row_tag, row_fall}), .delayed({late_tag, late_fall})
  );
  always_ff @(posedge clock) arriving <= reset ? '0 : {arriving[TAG_DELAY-2:0], row_valid};

  // Element n: n cycles after the old sums are asked for.
  logic [STEPS:0] valid;
  tag_t [STEPS:0] tag;
  logic [4:0] fall[3];
  assign valid[0] = arriving[TAG_DELAY-1];
  assign tag[0]   = late_tag;
  assign fall[0]  = late_fall;
  always_ff @(posedge clock) begin
    valid[STEPS:1] <= reset ? '0 : valid[STEPS-1:0];
    tag[STEPS:1] <= tag[STEPS-1:0];
    fall[1] <= fall[0];
    fall[2] <= fall[1];
  end

  logic [LANES-1:0][31:0] sums;
  logic [1:0][BITS-1:0] bank_data;
  for (genvar bank = 0; bank < 2; bank++) begin : g_bank
    (* ram_style = "block" *) logic [BITS-1:0] rows[BUILD.max_tokens];
    logic [BITS-1:0] data;
    wire fill = valid[0] && tag[0].bank == 1'(bank) && !tag[0].fresh;
    wire [PLACE_BITS-1:0] place = fill ? tag[0].place[PLACE_BITS-1:0] : drain_place;
    always_ff @(posedge clock) begin
      if (valid[STEPS] && tag[STEPS].bank == 1'(bank))
        rows[tag[STEPS].place[PLACE_BITS-1:0]] <= sums;
    end
    always_ff @(posedge clock) begin
      if (fill || drain_read) data <= rows[place];
      bank_data[bank] <= data;
    end
  end

  logic drained_bank, drained_bank_late;
  always_ff @(posedge clock) begin
    drained_bank <= drain_bank;
    drained_bank_late <= drained_bank;
  end
  assign drain_sums = bank_data[drained_bank_late];

  // The old sum falls, is rounded, and the products are added.
  logic [LANES-1:0][31:0] fallen, previous;
  logic [LANES-1:0] half;
  always_ff @(posedge clock) begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      automatic logic signed [32:0] old = $signed({bank_data[tag[2].bank][32*lane+:32], 1'b0});
      automatic logic signed [32:0] low = old >>> fall[2];
      fallen[lane] <= tag[2].fresh ? '0 : low[32:1];
      half[lane] <= !tag[2].fresh && low[0];
      previous[lane] <= fallen[lane] + 32'(half[lane]);
      sums[lane] <= previous[lane] + 32'($signed(row_sums[lane]));
    end
  end

  assign scores_valid = valid[STEPS] && tag[STEPS].scores && tag[STEPS].final_tile;
  assign scores_tag = tag[STEPS];
  assign scores = sums;
  always_ff @(posedge clock) complete <= !reset && valid[STEPS] && tag[STEPS].completes;
endmodule
