// value / 2^shift, rounded to the nearest integer, halves up, saturated to RESULT_BITS: `shift_right`
// and `saturate` of gearshift_hls/fixed_point.py. Any shift from 0 to 63.
//
// Rounding adds the last bit that was shifted out, which equals adding a half before the shift.
//
// Latency: 4. Initiation interval: 1. No stall.
// Resources aimed at: two multiplexers of 8 a bit, an adder of VALUE_BITS; no DSP.
module shift_right #(
    parameter int unsigned VALUE_BITS = 40,
    parameter int unsigned RESULT_BITS = 32  // fewer than VALUE_BITS
) (
    input  logic                          clock,
    input  logic signed [ VALUE_BITS-1:0] value,
    input  logic        [            5:0] shift,
    output logic signed [RESULT_BITS-1:0] result
);
  localparam logic signed [RESULT_BITS-1:0] MOST = {1'b0, {RESULT_BITS - 1{1'b1}}};

  // one bit below the point
  logic signed [VALUE_BITS:0] coarse, fine;
  logic [2:0] rest;
  logic signed [VALUE_BITS:0] rounded;
  wire fits = rounded[VALUE_BITS:RESULT_BITS-1] == '0 || rounded[VALUE_BITS:RESULT_BITS-1] == '1;

  always_ff @(posedge clock) begin
    coarse <= $signed({value, 1'b0}) >>> {shift[5:3], 3'b0};
    rest <= shift[2:0];
    fine <= coarse >>> rest;
    rounded <= (fine >>> 1) + $signed({{VALUE_BITS{1'b0}}, fine[0]});
    result <= fits ? rounded[RESULT_BITS-1:0] : rounded[VALUE_BITS] ? ~MOST : MOST;
  end
endmodule
