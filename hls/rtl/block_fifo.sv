// A queue in block RAM, or in distributed RAM where it is short.
//
// Interface: items are pushed when the owner knows that there is room (it counts); a valid/ready
// stream out.
// Latency 2, initiation interval 1.
// Resources aimed at, not measured: 2 block RAM of 36 Kib for 512 items of 128 bits; none up to 64.
module block_fifo #(
    parameter int unsigned WIDTH = 128,
    parameter int unsigned DEPTH = 512,  // a power of two
    localparam int unsigned PLACE_BITS = $clog2(DEPTH)
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             push,
    input  logic [WIDTH-1:0] in_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);

  // No ram_style: the tools choose by DEPTH.
  logic [WIDTH-1:0] items[DEPTH];
  logic [PLACE_BITS:0] head, tail;
  logic fetch;

  // The memory's output register holds the item that is offered.
  assign fetch = head != tail && (!out_valid || out_ready);

  always_ff @(posedge clock) begin
    if (push) items[tail[PLACE_BITS-1:0]] <= in_data;
    if (fetch) out_data <= items[head[PLACE_BITS-1:0]];
  end

  always_ff @(posedge clock) begin
    if (reset) begin
      head <= '0;
      tail <= '0;
      out_valid <= 1'b0;
    end else begin
      if (push) tail <= tail + 1'b1;
      if (fetch) head <= head + 1'b1;
      if (fetch || out_ready) out_valid <= fetch;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset)
      push |-> head[PLACE_BITS-1:0] != tail[PLACE_BITS-1:0] || head == tail);
`endif

endmodule
