// Softmax in base 2 over blocks of keys with a running integer maximum, and the final division, as
// gearshift_hls/golden.py `_attend` defines them.
//
// Block update. A row is a query of a head; its products with up to LANES keys come in a cycle, its
// weights leave BLOCK_LATENCY cycles later, in order. Never stalls: what takes the weights must be
// ready. Two blocks of one row are at least LANES cycles apart unless the second is a `first` one
// (more than one block means more than LANES rows). The maximum and the total of a row stay inside;
// with `last` the reciprocal of the total is computed for the final division.
//
// Final division. A row's LANES sums of weighted values (int32) become int8 results; valid/ready
// streams, in order, one row in FINAL_CYCLES cycles, which leave the unit as a line of LANES bytes.
// A row may be given as soon as `settled` is 1 after its last block went in. It may be given many
// times (head_dim / LANES).
//
// A row's number addresses its state. There are two states for every token, so that one head may be
// divided while the next is scored: the caller makes the top bit of the number that of the head.
//
// Latency: BLOCK_LATENCY; from a last block's weights to `settled` 34 cycles with 32 lanes.
// Initiation interval: 1 row; of the final division FINAL_CYCLES.
// Resources aimed at, not measured: a DSP a lane, 3 DSP a lane that divides (half of them),
// 9 BRAM36.
module softmax
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.output_lanes,
    localparam int unsigned ROWS = 2 * BUILD.max_tokens,
    localparam int unsigned ROW_BITS = $clog2(ROWS)
) (
    input logic clock,
    input logic reset,

    // a row's products with a block of keys; taken in every cycle with block_valid
    input logic                   block_valid,
    input logic [   ROW_BITS-1:0] block_row,
    input logic                   block_first,       // begins a row: its state so far is forgotten
    input logic                   block_last,        // ends a row: its total is ready to divide by
    input logic [      LANES-1:0] block_keys,        // the lanes that hold keys; not none
    input logic [LANES-1:0][31:0] block_sums,        // int32: q . k
    input logic [           15:0] block_multiplier,  // of the head: score_multiplier
    input logic [            5:0] block_shift,       // of the head: score_shift, low 6 bits

    // its weights, BLOCK_LATENCY cycles later
    output logic                  weights_valid,
    output logic [  ROW_BITS-1:0] weights_row,
    output logic [LANES-1:0][7:0] weights,        // uint8; 0 in lanes without a key
    output logic [           4:0] weights_fall,   // what its sums so far are shifted right by

    // every block so far is in the states, every reciprocal computed
    output logic settled,

    // final division
    input  logic                   final_valid,
    output logic                   final_ready,
    input  logic [   ROW_BITS-1:0] final_row,
    input  logic [LANES-1:0][31:0] final_sums,        // int32: weighted values
    input  logic [           15:0] final_multiplier,  // of the head: output_multiplier
    input  logic [            5:0] final_shift,       // of the head: output_shift, low 6 bits
    output logic                   result_valid,
    input  logic                   result_ready,
    output logic [ LANES-1:0][7:0] result             // int8
);
  localparam int unsigned LEVELS = $clog2(LANES);  // of a tree over the lanes
  localparam int unsigned SUM_BITS = 16 + $clog2(BUILD.max_head_dim);  // of q . k
  localparam int unsigned PRODUCT_BITS = SUM_BITS + 17;
  localparam int unsigned CEILING_BITS = 23;  // of a score to base 2 without fraction
  localparam int unsigned TOTAL_BITS = $clog2(255 * BUILD.max_tokens) + 1;
  localparam int unsigned INVERSE_BITS = 26;  // of 2^32 / total; a total is 128 at least

  // Cycles after that in which a block is on the ports.
  localparam int unsigned SCALED = 6;  // scores, int32
  localparam int unsigned CEILED = SCALED + 1;  // rounded up to powers of two
  localparam int unsigned TOP = CEILED + LEVELS;  // the largest of them
  localparam int unsigned NEW = TOP + 1;  // the row's new maximum
  localparam int unsigned BELOW = NEW + 1;  // distances from it
  localparam int unsigned TERMS = BELOW + 5;  // powers
  localparam int unsigned BLOCK_LATENCY = TERMS + 1;  // weights
  localparam int unsigned ADDED = BLOCK_LATENCY + LEVELS;  // the block's own total
  localparam int unsigned TOTAL = ADDED + 2;  // the row's new total
  localparam int unsigned DIVIDED = TOTAL + INVERSE_BITS;  // its reciprocal

  typedef struct packed {
    logic [ROW_BITS-1:0] row;
    logic first;
    logic last;
  } block_t;

  logic   [DIVIDED:1] live;
  block_t [DIVIDED:0] block;
  logic [TERMS:0][LANES-1:0] keys;
  assign block[0] = {block_row, block_first, block_last};
  assign keys[0] = block_keys;
  assign settled = !block_valid && live == '0;

  always_ff @(posedge clock) begin
    live <= reset ? '0 : {live[DIVIDED-1:1], block_valid};
    block[DIVIDED:1] <= block[DIVIDED-1:0];
    keys[TERMS:1] <= keys[TERMS-1:0];
  end

  // --- scores ---------------------------------------------------------------------------------
  logic signed [16:0] multiplier;
  logic [1:0][5:0] shift;
  logic [LANES-1:0][31:0] scores, scores_new;

  always_ff @(posedge clock) begin
    multiplier <= {1'b0, block_multiplier};
    shift <= {shift[0], block_shift};
  end

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_score
    logic signed [SUM_BITS-1:0] sum;
    logic signed [PRODUCT_BITS-1:0] product;
    always_ff @(posedge clock) begin
      sum <= block_sums[lane][SUM_BITS-1:0];
      product <= sum * multiplier;
    end
    shift_right #(
        .VALUE_BITS(PRODUCT_BITS),
        .RESULT_BITS(32)
    ) scale (
        .clock,
        .value(product),
        .shift(shift[1]),
        .result(scores[lane])
    );
  end

  delay #(
      .WIDTH (32 * LANES),
      .CYCLES(NEW - SCALED)
  ) hold_scores (
      .clock,
      .value(scores),
      .delayed(scores_new)
  );

  // --- the largest score, rounded up to a power of two ------------------------------------------
  // A tree: the lanes are the leaves LANES .. 2 LANES - 1, node i joins 2i and 2i + 1.
  logic signed [CEILING_BITS-1:0] ceilings[1:2*LANES-1];
  logic signed [CEILING_BITS-1:0] largest_old, largest;
  logic signed [CEILING_BITS:0] rise;
  wire rises = $signed({ceilings[1][CEILING_BITS-1], ceilings[1]}) >
      $signed({largest_old[CEILING_BITS-1], largest_old});

  function automatic logic signed [CEILING_BITS-1:0] ceiling_of(logic signed [31:0] score);
    logic signed [32:0] sum = 33'(score) + 33'((1 << VALUE_BITS) - 1);
    return CEILING_BITS'(sum >>> VALUE_BITS);
  endfunction

  always_ff @(posedge clock) begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      ceilings[int'(LANES)+lane] <= keys[SCALED][lane] ? ceiling_of(scores[lane])
          : {1'b1, {CEILING_BITS - 1{1'b0}}};
    end
    for (int node = 1; node < int'(LANES); node++) begin
      ceilings[node] <= ceilings[2*node] > ceilings[2*node+1] ? ceilings[2*node]
          : ceilings[2*node+1];
    end
    largest <= block[TOP].first || rises ? ceilings[1] : largest_old;
    rise <= !block[TOP].first && rises ?
        (CEILING_BITS + 1)'(ceilings[1]) - (CEILING_BITS + 1)'(largest_old) : '0;
  end

  ram #(
      .WIDTH(CEILING_BITS),
      .DEPTH(ROWS)
  ) largest_of_rows (
      .clock,
      .write(live[NEW]),
      .write_address(block[NEW].row),
      .write_data(largest),
      .read_address(block[TOP-1].row),
      .read_data(largest_old)
  );

  // --- weights --------------------------------------------------------------------------------
  logic [ADDED:BELOW][4:0] fall;
  logic [LANES-1:0][16:0] terms;

  always_ff @(posedge clock) begin
    fall[BELOW] <= rise < (CEILING_BITS + 1)'(31) ? rise[4:0] : 5'd31;
    fall[ADDED:BELOW+1] <= fall[ADDED-1:BELOW];
  end

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_weight
    // Never negative but in lanes without a key.
    logic [32:0] below;
    wire  [ 9:0] rounded = 10'((18'(terms[lane]) + 18'd128) >> 8);
    always_ff @(posedge clock) begin
      below <= {largest, {VALUE_BITS{1'b0}}} - {scores_new[lane][31], scores_new[lane]};
      weights[lane] <= !keys[TERMS][lane] ? 8'd0 : rounded > 10'd255 ? 8'd255 : rounded[7:0];
    end
    power #(
        .BELOW_BITS(33)
    ) term (
        .clock,
        .below,
        .result(terms[lane])
    );
  end

  assign weights_valid = live[BLOCK_LATENCY];
  assign weights_row = block[BLOCK_LATENCY].row;
  assign weights_fall = fall[BLOCK_LATENCY];

  // --- totals ---------------------------------------------------------------------------------
  localparam int unsigned BLOCK_BITS = 8 + LEVELS;

  logic [BLOCK_BITS-1:0] partial[1:2*LANES-1];  // a tree as above
  logic [BLOCK_BITS-1:0] added;
  logic [TOTAL_BITS-1:0] total_old, total;
  logic [TOTAL_BITS:0] fallen;  // one bit below the point

  for (genvar lane = 0; lane < int'(LANES); lane++) begin : g_partial
    assign partial[LANES+lane] = BLOCK_BITS'(weights[lane]);
  end

  always_ff @(posedge clock) begin
    for (int node = 1; node < int'(LANES); node++) begin
      partial[node] <= partial[2*node] + partial[2*node+1];
    end
    added <= partial[1];
    fallen <= block[ADDED].first ? '0 : {total_old, 1'b0} >> fall[ADDED];
    total <= fallen[TOTAL_BITS:1] + TOTAL_BITS'(fallen[0]) + TOTAL_BITS'(added);
  end

  ram #(
      .WIDTH(TOTAL_BITS),
      .DEPTH(ROWS)
  ) total_of_rows (
      .clock,
      .write(live[TOTAL]),
      .write_address(block[TOTAL].row),
      .write_data(total),
      .read_address(block[ADDED-1].row),
      .read_data(total_old)
  );

  // --- reciprocals ----------------------------------------------------------------------------
  logic [INVERSE_BITS-1:0] quotient, inverse;
  logic [ROW_BITS-1:0] held_row;  // that is divided
  wire take = final_valid && final_ready;

  always_ff @(posedge clock) if (take) held_row <= final_row;

  divide #(
      .NUMERATOR_BITS(33),
      .DIVISOR_BITS  (TOTAL_BITS),
      .QUOTIENT_BITS (INVERSE_BITS)
  ) reciprocal (
      .clock,
      .numerator({1'b1, 32'(total >> 1)}),
      .divisor(total),
      .quotient
  );

  ram #(
      .WIDTH(INVERSE_BITS),
      .DEPTH(ROWS)
  ) inverse_of_rows (
      .clock,
      .write(live[DIVIDED] && block[DIVIDED].last),
      .write_address(block[DIVIDED].row),
      .write_data(quotient),
      .read_address(take ? final_row : held_row),
      .read_data(inverse)
  );

  softmax_division #(
      .BUILD(BUILD)
  ) division (
      .clock,
      .reset,
      .final_valid,
      .final_ready,
      .final_sums,
      .final_multiplier,
      .final_shift,
      .inverse,
      .result_valid,
      .result_ready,
      .result
  );

`ifndef SYNTHESIS
  // A row's state is written before it is read again.
  for (genvar age = 1; age < 4; age++) begin : g_apart
    assert property (@(posedge clock) disable iff (reset)
        block_valid && !block_first && live[age] |-> block[age].row != block_row);
  end
`endif
endmodule
