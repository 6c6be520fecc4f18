// Results on their way out: to memory, with the residual added if there is one, or to the hidden
// buffer; and those of attention, which come as lines.
//
// Interface: results of the epilogue are pushed when they come (the drain counts the room); lines
// of attention are a stream. The pass stands still while results of it are here. `left`: a row's
// result left.
// Latency: 3 cycles. Initiation interval: a row of 8 or 16 bits a cycle, a residual row 2 cycles.
// Resources aimed at: 32 rows of LANES x 33 bits and 64 words of residual in distributed RAM.
module results
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.output_lanes,
    localparam int unsigned LINE_BITS = 8 * LANES,
    localparam int unsigned HALF = LANES / 2
) (
    input  logic                        clock,
    input  logic                        reset,
    input  logic                        to_hidden,
    input  logic                        of_attention,
    input  logic [1:0]                  format,
    input  count_t                      rows,
    input  count_t                      output_tiles,
    input  logic                        push,
    input  logic [LANES-1:0][32:0]      values,
    input  logic                        line_valid,
    output logic                        line_ready,
    input  logic [LANES-1:0][7:0]       line,
    input  logic                        residual_push,
    input  logic [HALF-1:0][31:0]       residual,
    output logic                        left,
    output logic                        hidden_write,
    output count_t                      hidden_line,
    output logic [LINE_BITS-1:0]        hidden_data,
    output logic                        hidden_tile,  // an output tile of hidden values is complete
    output logic                        write_valid,
    input  logic                        write_ready,
    output logic [1:0][LINE_BITS-1:0]   write_data,
    output logic                        empty
);
  logic room, residual_room;  // the drain counts, so that there is always
  logic held, held_ready, residual_there, residual_ready, word_valid, word_ready, second;
  logic [LANES-1:0][32:0] head;
  logic [HALF-1:0][31:0] residual_head;
  logic [1:0][LINE_BITS-1:0] word;
  count_t row, tile;

  fifo #(.WIDTH(33 * LANES), .DEPTH(RESULTS)) waiting (
      .clock, .reset, .in_valid(push), .in_ready(room), .in_data(values),
      .out_valid(held), .out_ready(held_ready), .out_data(head)
  );
  fifo #(.WIDTH(2 * LINE_BITS), .DEPTH(2 * RESULTS)) residuals (
      .clock, .reset, .in_valid(residual_push), .in_ready(residual_room), .in_data(residual),
      .out_valid(residual_there), .out_ready(residual_ready), .out_data(residual_head)
  );
  fifo #(.WIDTH(2 * LINE_BITS), .DEPTH(4)) words (
      .clock, .reset, .in_valid(word_valid), .in_ready(word_ready), .in_data(word),
      .out_valid(write_valid), .out_ready(write_ready), .out_data(write_data)
  );

  wire adds = format == 2'(FORMAT_RESIDUAL) && !to_hidden && !of_attention;
  wire ends_row = !adds || second;
  assign line_ready = of_attention && word_ready;
  assign held_ready = to_hidden || (word_valid && word_ready && ends_row && !of_attention);
  assign residual_ready = adds && word_valid && word_ready;
  assign word_valid = of_attention ? line_valid : held && !to_hidden && (!adds || residual_there);
  assign left = of_attention ? line_valid && word_ready : held && held_ready;
  assign empty = !write_valid && !held;

  function automatic logic [31:0] add(logic signed [32:0] value, logic signed [31:0] to);
    logic signed [33:0] sum = 34'(value) + 34'(to);
    if (sum[33:31] == 3'b000 || sum[33:31] == 3'b111) return sum[31:0];
    return sum[33] ? 32'h80000000 : 32'h7FFFFFFF;
  endfunction

  logic [LANES-1:0][7:0] bytes;
  logic [LANES-1:0][15:0] halves;
  logic [HALF-1:0][31:0] sums;
  always_comb begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      bytes[lane] = head[lane][7:0];
      halves[lane] = head[lane][15:0];
    end
    for (int lane = 0; lane < int'(HALF); lane++) begin
      sums[lane] = add(second ? head[lane+int'(HALF)] : head[lane], residual_head[lane]);
    end
    if (of_attention) word = {LINE_BITS'(0), line};
    else if (format == 2'(FORMAT_INT16)) word = halves;
    else if (adds) word = sums;
    else word = {LINE_BITS'(0), bytes};
  end
  always_ff @(posedge clock) begin
    if (reset) second <= 1'b0;
    else if (word_valid && word_ready && adds) second <= !second;
  end

  // Hidden rows lie side by side, an output tile a line.
  count_t line_of_row;
  wire last_row = row == rows - 1'b1;
  wire last_tile = tile == output_tiles - 1'b1;
  wire keeps = held && to_hidden;
  always_ff @(posedge clock) begin
    hidden_write <= !reset && keeps;
    hidden_line <= line_of_row + tile;
    hidden_data <= bytes;
    hidden_tile <= !reset && keeps && last_row;
    if (keeps) begin
      row <= last_row ? '0 : row + 1'b1;
      line_of_row <= last_row ? '0 : line_of_row + output_tiles;
      if (last_row) tile <= last_tile ? '0 : tile + 1'b1;
    end
    if (reset) begin
      row <= '0;
      tile <= '0;
      line_of_row <= '0;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) push |-> room);
  assert property (@(posedge clock) disable iff (reset) residual_push |-> residual_room);
`endif
endmodule
