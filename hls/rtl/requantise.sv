// value x multiplier / 2^shift, rounded to the nearest integer, halves up, saturated to 33 bits.
//
// 33 bits are enough for whatever follows: a result that they do not hold saturates every format,
// and a residual that it is added to.
//
// Multiplier and shift come with the value. Latency: 8. Initiation interval: 1. No stall.
// Resources aimed at: 2 DSP48E2, 300 LUT.
module requantise #(
    localparam int unsigned BITS = 33
) (
    input  logic                   clock,
    input  logic signed [BITS-1:0] value,
    input  logic        [15:0]     multiplier,
    input  logic        [5:0]      shift,
    output logic signed [BITS-1:0] result
);
  logic signed [BITS+16:0] product;
  logic [5:0] late_shift;

  multiply #(.A_BITS(BITS), .B_BITS(17)) scale (
      .clock, .a(value), .b($signed({1'b0, multiplier})), .product
  );
  delay #(.WIDTH(6), .CYCLES(4)) shifts (.clock, .value(shift), .delayed(late_shift));
  shift_right #(.VALUE_BITS(BITS + 17), .RESULT_BITS(BITS)) round (
      .clock, .value(product), .shift(late_shift), .result
  );
endmodule
