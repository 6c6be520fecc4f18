// numerator / divisor, rounded down, for unsigned numbers whose quotient fits in QUOTIENT_BITS and a
// divisor that is not 0: one bit of the quotient a stage, by subtraction.
//
// Latency: QUOTIENT_BITS. Initiation interval: 1. No stall.
// Resources aimed at: a stage an adder of DIVISOR_BITS + 1; no DSP.
module divide #(
    parameter int unsigned NUMERATOR_BITS = 33,  // more than QUOTIENT_BITS
    parameter int unsigned DIVISOR_BITS = 20,
    parameter int unsigned QUOTIENT_BITS = 26
) (
    input  logic                      clock,
    input  logic [NUMERATOR_BITS-1:0] numerator,
    input  logic [  DIVISOR_BITS-1:0] divisor,
    output logic [ QUOTIENT_BITS-1:0] quotient
);
  // What a stage takes: a remainder below the divisor, and in `rest` the bits of the numerator that
  // are still to come, followed by those of the quotient that are known.
  logic [QUOTIENT_BITS-1:0][DIVISOR_BITS-1:0] remainder;
  logic [QUOTIENT_BITS:0][QUOTIENT_BITS-1:0] rest;
  logic [QUOTIENT_BITS-1:0][DIVISOR_BITS-1:0] by;

  assign remainder[0] = DIVISOR_BITS'(numerator >> QUOTIENT_BITS);
  assign rest[0] = numerator[QUOTIENT_BITS-1:0];
  assign by[0] = divisor;

  for (genvar stage = 0; stage < int'(QUOTIENT_BITS); stage++) begin : g_stage
    wire [DIVISOR_BITS:0] longer = {remainder[stage], rest[stage][QUOTIENT_BITS-1]};
    wire [DIVISOR_BITS+1:0] less = {1'b0, longer} - {2'b0, by[stage]};
    wire enough = !less[DIVISOR_BITS+1];
    always_ff @(posedge clock) rest[stage+1] <= {rest[stage][QUOTIENT_BITS-2:0], enough};
    if (stage < int'(QUOTIENT_BITS) - 1) begin : g_next
      always_ff @(posedge clock) begin
        remainder[stage+1] <= enough ? less[DIVISOR_BITS-1:0] : longer[DIVISOR_BITS-1:0];
        by[stage+1] <= by[stage];
      end
    end
  end

  assign quotient = rest[QUOTIENT_BITS];
endmodule
