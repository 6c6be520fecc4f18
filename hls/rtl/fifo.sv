// A short queue.
//
// Interface: valid/ready streams in and out. An item may leave in the cycle after it came.
// Latency 1, initiation interval 1.
// Resources aimed at, not measured: distributed RAM, one LUT for every two bits up to 64 items.
module fifo #(
    parameter int unsigned WIDTH = 32,
    parameter int unsigned DEPTH = 8,  // a power of two, 2 or more
    localparam int unsigned PLACE_BITS = $clog2(DEPTH)
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);

  (* ram_style = "distributed" *) logic [WIDTH-1:0] items[DEPTH];
  // One bit more than a place, so that full and empty differ.
  logic [PLACE_BITS:0] head, tail;

  assign out_valid = head != tail;
  assign in_ready = head[PLACE_BITS-1:0] != tail[PLACE_BITS-1:0] || head == tail;
  assign out_data = items[head[PLACE_BITS-1:0]];

  always_ff @(posedge clock) begin
    if (in_valid && in_ready) items[tail[PLACE_BITS-1:0]] <= in_data;
  end

  always_ff @(posedge clock) begin
    if (reset) begin
      head <= '0;
      tail <= '0;
    end else begin
      if (in_valid && in_ready) tail <= tail + 1'b1;
      if (out_valid && out_ready) head <= head + 1'b1;
    end
  end

endmodule
