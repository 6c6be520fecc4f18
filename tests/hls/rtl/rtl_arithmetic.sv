// The pipelines of arithmetic side by side, for rtl_arithmetic_bench.py.
module rtl_arithmetic (
    input  logic               clock,
    input  logic        [32:0] below,
    output logic        [16:0] term,
    input  logic        [61:0] total,
    output logic        [17:0] root,
    output logic        [ 4:0] half,
    input  logic        [32:0] numerator,
    input  logic        [19:0] divisor,
    output logic        [25:0] quotient,
    input  logic signed [36:0] a,
    input  logic signed [27:0] b,
    output logic signed [64:0] both_cut,
    output logic signed [46:0] b_cut,
    output logic signed [53:0] a_cut,
    output logic signed [36:0] none_cut,
    input  logic signed [39:0] value,
    input  logic        [ 5:0] shift,
    output logic signed [31:0] wide,
    output logic signed [ 7:0] narrow
);
  power power_of (.clock, .below, .result(term));
  reciprocal_root root_of (.clock, .total, .root, .half);
  divide divided (.clock, .numerator, .divisor, .quotient);
  multiply #(.A_BITS(37), .B_BITS(28)) first (.clock, .a, .b, .product(both_cut));
  multiply #(.A_BITS(19), .B_BITS(28)) second (.clock, .a(a[18:0]), .b, .product(b_cut));
  multiply #(.A_BITS(37), .B_BITS(17)) third (.clock, .a, .b(b[16:0]), .product(a_cut));
  multiply #(.A_BITS(19), .B_BITS(18)) fourth (
      .clock, .a(a[18:0]), .b(b[17:0]), .product(none_cut)
  );
  shift_right #(.VALUE_BITS(40), .RESULT_BITS(32)) shifted (.clock, .value, .shift, .result(wide));
  shift_right #(.VALUE_BITS(40), .RESULT_BITS(8)) cut (.clock, .value, .shift, .result(narrow));
endmodule
