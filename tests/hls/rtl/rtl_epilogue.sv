// What a lane of the epilogue is made of, side by side, for rtl_epilogue_bench.py.
module rtl_epilogue (
    input  logic               clock,
    input  logic signed [15:0] value,
    output logic signed [22:0] activated,
    input  logic signed [32:0] biased,
    input  logic        [15:0] multiplier,
    input  logic        [ 5:0] shift,
    output logic signed [32:0] scaled
);
  gelu activation (.clock, .value, .result(activated));
  requantise scale (.clock, .value(biased), .multiplier, .shift, .result(scaled));
endmodule
