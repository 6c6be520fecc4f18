// The final division of a softmax: sums of weighted values, divided by their row's total and scaled
// to int8. Half of the lanes in a cycle.
//
// Interface: a row's LANES sums (int32), with the output multiplier and shift of its head;
// `inverse`, 2^32 / total, comes a cycle after the row was taken and stays until the next one is.
// LANES bytes leave; valid/ready streams, in order.
// Latency: 18. Initiation interval: FINAL_CYCLES. Resources aimed at, not measured: 3 DSP a lane
// that divides.
module softmax_division
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.output_lanes,
    localparam int unsigned INVERSE_BITS = 26
) (
    input  logic                    clock,
    input  logic                    reset,
    input  logic                    final_valid,
    output logic                    final_ready,
    input  logic [LANES-1:0][31:0]  final_sums,
    input  logic [15:0]             final_multiplier,
    input  logic [5:0]              final_shift,       // low 6 bits
    input  logic [INVERSE_BITS-1:0] inverse,
    output logic                    result_valid,
    input  logic                    result_ready,
    output logic [LANES-1:0][7:0]   result
);
  localparam int unsigned TOTAL_BITS = $clog2(255 * BUILD.max_tokens) + 1;
  localparam int unsigned FINAL_CYCLES = 2;
  localparam int unsigned PART_BITS = $clog2(FINAL_CYCLES);
  localparam logic [PART_BITS-1:0] LAST_PART = PART_BITS'(FINAL_CYCLES - 1);
  localparam int unsigned PART = LANES / FINAL_CYCLES;
  localparam int unsigned WEIGHTED_BITS = 9 + TOTAL_BITS - 2;  // at most 129 totals, and a sign
  localparam int unsigned SHARE_BITS = WEIGHTED_BITS + INVERSE_BITS + 1;
  localparam int unsigned MEAN_BITS = 19;  // at most 129 x 1024, and a sign
  localparam int unsigned RESULT_LATENCY = 14;  // from a part in `sums` to its results
  localparam int unsigned RESULTS = 16;  // rows that the queue holds
  localparam int unsigned COUNT_BITS = $clog2(RESULTS) + 1;

  logic busy;
  logic [PART_BITS-1:0] part;  // that is in the lowest lanes of held_sums
  logic [FINAL_CYCLES-1:0][PART-1:0][31:0] held_sums;
  logic [COUNT_BITS-1:0] outstanding;  // rows that were taken and have not left
  logic [15:0] held_multiplier;
  logic [5:0] held_shift;
  wire take = final_valid && final_ready;
  wire leave = result_valid && result_ready;

  assign final_ready = (!busy || part == LAST_PART) && outstanding < COUNT_BITS'(RESULTS);

  always_ff @(posedge clock) begin
    part <= part + 1'b1;
    held_sums <= held_sums >> (32 * PART);
    if (take) begin
      part <= '0;
      held_sums <= final_sums;
      held_multiplier <= final_multiplier;
      held_shift <= final_shift;
    end
    outstanding <= outstanding + COUNT_BITS'(take) - COUNT_BITS'(leave);
    if (take) busy <= 1'b1;
    else if (part == LAST_PART) busy <= 1'b0;
    if (reset) begin
      busy <= 1'b0;
      outstanding <= '0;
    end
  end

  logic [RESULT_LATENCY:0] working;
  logic [15:0] multiplier_mean;
  logic [5:0] shift_share;
  logic [PART_BITS-1:0] part_result;
  logic [PART-1:0][7:0] part_results;
  logic [FINAL_CYCLES-1:0][PART-1:0][7:0] collected;
  logic collected_all, unused_ready;

  assign working[0] = busy;
  always_ff @(posedge clock) begin
    working[RESULT_LATENCY:1] <= reset ? '0 : working[RESULT_LATENCY-1:0];
    collected[part_result] <= part_results;
    collected_all <= !reset && working[RESULT_LATENCY] && part_result == LAST_PART;
  end

  delay #(
      .WIDTH (16),
      .CYCLES(6)
  ) hold_multiplier (
      .clock,
      .value(held_multiplier),
      .delayed(multiplier_mean)
  );
  delay #(
      .WIDTH (6),
      .CYCLES(10)
  ) hold_shift (
      .clock,
      .value(held_shift),
      .delayed(shift_share)
  );
  delay #(
      .WIDTH (PART_BITS),
      .CYCLES(RESULT_LATENCY)
  ) hold_part (
      .clock,
      .value(part),
      .delayed(part_result)
  );

  for (genvar lane = 0; lane < int'(PART); lane++) begin : g_final
    logic signed [WEIGHTED_BITS-1:0] weighted;
    logic signed [SHARE_BITS-1:0] share;
    logic signed [MEAN_BITS-1:0] mean;
    logic signed [MEAN_BITS+16:0] scaled;
    logic signed [INVERSE_BITS:0] by;
    always_ff @(posedge clock) begin
      weighted <= held_sums[0][lane][WEIGHTED_BITS-1:0];
      by <= {1'b0, inverse};
      mean <= MEAN_BITS'((share + (SHARE_BITS'(1) <<< (31 - VALUE_BITS))) >>> (32 - VALUE_BITS));
    end
    multiply #(
        .A_BITS(WEIGHTED_BITS),
        .B_BITS(INVERSE_BITS + 1)
    ) divide_sum (
        .clock,
        .a(weighted),
        .b(by),
        .product(share)
    );
    multiply #(
        .A_BITS(MEAN_BITS),
        .B_BITS(17)
    ) scale (
        .clock,
        .a(mean),
        .b({1'b0, multiplier_mean}),
        .product(scaled)
    );
    shift_right #(
        .VALUE_BITS(MEAN_BITS + 17),
        .RESULT_BITS(8)
    ) requantise (
        .clock,
        .value(scaled),
        .shift(shift_share),
        .result(part_results[lane])
    );
  end

  fifo #(
      .WIDTH(8 * LANES),
      .DEPTH(RESULTS)
  ) results (
      .clock,
      .reset,
      .in_valid(collected_all),
      .in_ready(unused_ready),  // `outstanding` keeps room
      .in_data(collected),
      .out_valid(result_valid),
      .out_ready(result_ready),
      .out_data(result)
  );
endmodule
