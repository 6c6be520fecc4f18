// A product of two signed numbers from multipliers of at most 27 x 18 bits, as a DSP48E2 has them.
//
// A wide a is cut below bit 26 and a wide b below bit 17; the lower piece is unsigned. The pieces'
// products are added in pairs.
//
// Latency: 4. Initiation interval: 1. No stall.
// Resources aimed at: a DSP a pair of pieces, 1 to 4.
module multiply #(
    parameter int unsigned A_BITS = 27,  // at most 53
    parameter int unsigned B_BITS = 18   // at most 35
) (
    input  logic                            clock,
    input  logic signed [       A_BITS-1:0] a,
    input  logic signed [       B_BITS-1:0] b,
    output logic signed [A_BITS+B_BITS-1:0] product
);
  localparam int unsigned A_CUT = 26;
  localparam int unsigned B_CUT = 17;
  localparam bit CUT_A = A_BITS > A_CUT + 1;
  localparam bit CUT_B = B_BITS > B_CUT + 1;
  localparam int unsigned A_LOW = CUT_A ? A_CUT + 1 : A_BITS;
  localparam int unsigned B_LOW = CUT_B ? B_CUT + 1 : B_BITS;
  localparam int unsigned A_HIGH = CUT_A ? A_BITS - A_CUT : 1;
  localparam int unsigned B_HIGH = CUT_B ? B_BITS - B_CUT : 1;
  localparam int unsigned BITS = A_BITS + B_BITS;

  logic signed [A_LOW-1:0] a_low;
  logic signed [B_LOW-1:0] b_low;
  logic signed [A_LOW+B_LOW-1:0] low_low;
  logic signed [BITS-1:0] low_high, high, low;

  always_ff @(posedge clock) begin
    a_low   <= CUT_A ? A_LOW'({1'b0, A_CUT'(a)}) : A_LOW'(a);
    b_low   <= CUT_B ? B_LOW'({1'b0, B_CUT'(b)}) : B_LOW'(b);
    low_low <= a_low * b_low;
    low     <= BITS'(low_low) + low_high;
    product <= low + high;
  end

  if (CUT_B) begin : g_low_high
    logic signed [B_HIGH-1:0] b_high;
    logic signed [A_LOW+B_HIGH-1:0] part;
    always_ff @(posedge clock) begin
      b_high <= B_HIGH'(b >>> B_CUT);
      part   <= a_low * b_high;
    end
    assign low_high = BITS'(part) <<< B_CUT;
  end else begin : g_no_low_high
    assign low_high = '0;
  end

  if (CUT_A) begin : g_high
    logic signed [A_HIGH-1:0] a_high;
    logic signed [A_HIGH+B_LOW-1:0] part;
    logic signed [BITS-1:0] high_high;
    always_ff @(posedge clock) begin
      a_high <= A_HIGH'(a >>> A_CUT);
      part <= a_high * b_low;
      high <= (BITS'(part) + high_high) <<< A_CUT;
    end
    if (CUT_B) begin : g_both
      logic signed [A_HIGH+B_HIGH-1:0] last;
      always_ff @(posedge clock) last <= a_high * g_low_high.b_high;
      assign high_high = BITS'(last) <<< B_CUT;
    end else begin : g_no_both
      assign high_high = '0;
    end
  end else begin : g_no_high
    assign high = '0;
  end
endmodule
