// Two output lanes of the array: a row's inputs times the weights of both, which stay, summed over
// the input lanes.
//
// A multiplier makes both lanes' products at once: its weight is that of lane 1 times 2^18 plus that
// of lane 0 (AMD, WP486, "Deep Learning with INT8 Optimization on Xilinx Devices"). Cascades of four
// multipliers (a chain of DSPs: each adds its product to its neighbour's sum, a cycle later): the
// sums of lane 0 stay within 18 bits, for no input is beyond -128 .. 255; where they are negative,
// those of lane 1 are one too small. Then a tree of adders for each lane.
//
// Everything that reaches the multiplier at place p of a cascade must arrive p cycles late; array.sv
// sees to that. A multiplier has two pairs of weights: the shadow ones are loaded at any time, and
// become the active ones with the row that comes with `swap`.
//
// Latency: 6 + log2(INPUTS / 4) from the inputs of place 0 to `sums`. Initiation interval: 1. No
// stall.
// Resources aimed at: INPUTS DSP48E2 with the shadow weights in their A and D registers, whose sum
// is the active ones (pre-adder), and INPUTS / 2 - 2 adders.
module dot_product_pair #(
    parameter  int unsigned INPUTS = 32,  // 4 times a power of two, 8 or more
    localparam int unsigned CHAINS = INPUTS / 4,
    localparam int unsigned LEVELS = $clog2(CHAINS),
    localparam int unsigned SUM_BITS = 17 + $clog2(INPUTS)
) (
    input  logic                            clock,
    input  logic [INPUTS-1:0][8:0]          inputs,  // signed, -128 .. 255
    input  logic [3:0]                      swap,  // by place
    input  logic [1:0][INPUTS-1:0]          load,
    input  logic [1:0][INPUTS-1:0][7:0]     weights,
    output logic [1:0][SUM_BITS-1:0]        sums
);
  localparam int unsigned LOW = 18;  // bits of lane 0's sums in a cascade

  // A multiplier, its weights, and the sums of its cascade so far: what one DSP holds.
  logic signed [2*LOW-1:0] partial[INPUTS];
  for (genvar lane = 0; lane < INPUTS; lane++) begin : g_multiplier
    logic signed [8:0] value;
    logic signed [7:0] shadow[2];
    logic signed [26:0] active;
    logic signed [2*LOW-1:0] product, sum_so_far;
    always_ff @(posedge clock) begin
      value <= inputs[lane];
      if (load[0][lane]) shadow[0] <= weights[0][lane];
      if (load[1][lane]) shadow[1] <= weights[1][lane];
      if (swap[lane%4]) active <= 27'(shadow[0]) + $signed({shadow[1][7], shadow[1], LOW'(0)});
      product <= value * active;
    end
    if (lane % 4 == 0) begin : g_first
      always_ff @(posedge clock) sum_so_far <= product;
    end else begin : g_next
      always_ff @(posedge clock) sum_so_far <= partial[lane-1] + product;
    end
    assign partial[lane] = sum_so_far;
  end

  // Level 0 are the ends of the chains; level n has half as many sums as the one before.
  for (genvar output_lane = 0; output_lane < 2; output_lane++) begin : g_tree
    logic signed [SUM_BITS-1:0] tree[LEVELS+1][CHAINS];
    always_comb begin
      for (int chain = 0; chain < int'(CHAINS); chain++) begin
        automatic logic signed [LOW-1:0] high = partial[4*chain+3][2*LOW-1:LOW];
        automatic logic signed [LOW-1:0] low = partial[4*chain+3][LOW-1:0];
        tree[0][chain] = output_lane == 0 ? SUM_BITS'(low)
                                          : SUM_BITS'(high) + SUM_BITS'(low < 0);
      end
    end
    for (genvar level = 1; level <= LEVELS; level++) begin : g_level
      always_ff @(posedge clock) begin
        for (int node = 0; node < int'(CHAINS >> level); node++) begin
          tree[level][node] <= tree[level-1][2*node] + tree[level-1][2*node+1];
        end
      end
    end
    assign sums[output_lane] = tree[LEVELS][0];
  end
endmodule
