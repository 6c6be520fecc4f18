// Two users of one reader: the loads of buffers, and the residual, which goes first.
//
// Interface: each user has requests and gets the words of its own requests in order. The residual's
// requests queue here (`push`: there is room, for whoever pushes counts), and its words find room
// always. So do those of the loads.
// Latency 1 for a request, 0 for a word. Resources aimed at: 150 LUT.
module read_router
  import memory_pkg::*;
  import product_pkg::*;
#(
    parameter int unsigned PENDING = 16
) (
    input  logic     clock,
    input  logic     reset,
    input  logic     load_request_valid,
    output logic     load_request_ready,
    input  request_t load_request,
    input  logic     residual_push,
    output logic     residual_room,
    input  request_t residual_request,

    output logic     read_request_valid,
    input  logic     read_request_ready,
    output request_t read_request,

    input  logic     word,         // a word comes
    output logic     is_residual   // whose it is
);
  logic [22:0] words_left, head_words;
  logic head_valid, head_residual, in_ready, taken, pending_room;
  request_t chosen, next_residual;
  logic residual_valid, residual_taken;
  logic residual_chosen, held, held_residual;

  fifo #(.WIDTH($bits(request_t)), .DEPTH(RESULTS)) residuals (
      .clock, .reset, .in_valid(residual_push), .in_ready(residual_room),
      .in_data(residual_request), .out_valid(residual_valid), .out_ready(residual_taken),
      .out_data(next_residual)
  );

  // A request that was offered stays the one that is offered.
  assign residual_chosen = held ? held_residual : residual_valid;
  assign chosen = residual_chosen ? next_residual : load_request;
  assign pending_room = in_ready;
  assign read_request_valid =
      pending_room && (residual_chosen ? residual_valid : load_request_valid);
  assign read_request = chosen;
  assign taken = read_request_valid && read_request_ready;
  assign residual_taken = taken && residual_chosen;
  assign load_request_ready = taken && !residual_chosen;

  always_ff @(posedge clock) begin
    held <= !reset && read_request_valid && !read_request_ready;
    held_residual <= residual_chosen;
  end

  // Whose words come next, and how many.
  wire [22:0] words = chosen.lines[23:1] + 23'(chosen.lines[0]);
  wire last_word = words_left == head_words - 1'b1;
  fifo #(.WIDTH(24), .DEPTH(PENDING)) pending (
      .clock, .reset, .in_valid(taken), .in_ready, .in_data({residual_chosen, words}),
      .out_valid(head_valid), .out_ready(word && last_word), .out_data({head_residual, head_words})
  );
  assign is_residual = head_residual;
  always_ff @(posedge clock) begin
    if (reset) words_left <= '0;
    else if (word) words_left <= last_word ? '0 : words_left + 1'b1;
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) word |-> head_valid);
`endif
endmodule
