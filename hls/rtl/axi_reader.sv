// An AXI4 read master: requests for beats of 16 bytes become bursts, whose data leave in order.
//
// A burst is asked for only when the queue has room for the longest one, so the port never stalls
// the interconnect, and stays inside an aligned block of MAX_BURST beats, so none crosses 4 KiB.
// Interface: `base` is the address that requests are relative to, a multiple of 4096; it may change
// while `idle`. A beat with an error (RRESP is SLVERR or DECERR) sets `failed` for a cycle; its
// data are passed on. `flush` (held until `idle`) drops all requests and data; bursts that the bus
// has been asked for come to their end. `room`: places of the queue that may be used, at most
// DEPTH; `waiting`: beats in it.
// Latency: 4 cycles and the memory's; initiation interval: one beat a cycle, with bursts enough in
// flight to hide a latency of DEPTH - MAX_BURST cycles.
// Resources aimed at, not measured: a block_fifo of DEPTH beats, 300 LUT.
module axi_reader #(
    parameter int unsigned DEPTH = 512,
    parameter int unsigned MAX_BURST = 64,  // a power of two, at most 256 and less than DEPTH
    parameter int unsigned REQUESTS = 8
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         idle,
    output logic         failed,
    input  logic [$clog2(DEPTH):0] room,
    output logic [$clog2(DEPTH):0] waiting,

    input  logic        request_valid,
    output logic        request_ready,
    input  logic [31:4] request_address,
    input  logic [27:0] request_beats,

    output logic         data_valid,
    input  logic         data_ready,
    output logic [127:0] data,

    output logic [63:0]  axi_araddr,
    output logic [7:0]   axi_arlen,
    output logic         axi_arvalid,
    input  logic         axi_arready,
    input  logic [127:0] axi_rdata,
    input  logic         axi_rerror,
    input  logic         axi_rvalid,
    output logic         axi_rready
);

  localparam int unsigned BURST_BITS = $clog2(MAX_BURST);
  localparam int unsigned COUNT_BITS = $clog2(DEPTH) + 1;

  logic burst_valid, plan, cut;
  logic [31:4] address;
  logic [BURST_BITS:0] burst;

  burst_cutter #(
      .MAX_BURST(MAX_BURST),
      .REQUESTS (REQUESTS)
  ) cutter (
      .clock,
      .reset,
      .flush,
      .idle(cut),
      .request_valid,
      .request_ready,
      .request_address,
      .request_beats,
      .burst_valid,
      .take(plan),
      .address,
      .burst
  );

  // Beats that were asked for and have not come; beats that have a place in the queue.
  logic [COUNT_BITS-1:0] expected, reserved, asked;
  logic arrives, leaves;

  assign asked = plan ? COUNT_BITS'(burst) : '0;
  assign waiting = reserved - expected;
  assign plan = burst_valid && (!axi_arvalid || axi_arready)
      && reserved + COUNT_BITS'(MAX_BURST) <= room;
  assign axi_rready = 1'b1;
  assign arrives = axi_rvalid;
  assign leaves = data_valid && data_ready;
  assign idle = cut && expected == 0 && !axi_arvalid;

  always_ff @(posedge clock) begin
    if (reset) begin
      expected <= '0;
      reserved <= '0;
    end else begin
      expected <= expected + asked - COUNT_BITS'(arrives);
      if (flush) reserved <= expected - COUNT_BITS'(arrives);
      else reserved <= reserved + asked - COUNT_BITS'(leaves);
    end
  end

  always_ff @(posedge clock) begin
    if (reset) axi_arvalid <= 1'b0;
    else if (plan) axi_arvalid <= 1'b1;
    else if (axi_arready) axi_arvalid <= 1'b0;
    if (plan) begin
      axi_araddr <= {base, 12'd0} + {32'd0, address, 4'd0};
      axi_arlen <= 8'(burst) - 8'd1;
    end
  end

  always_ff @(posedge clock) begin
    failed <= !reset && arrives && axi_rerror;
  end

  block_fifo #(
      .WIDTH(128),
      .DEPTH(DEPTH)
  ) beats (
      .clock,
      .reset(reset || flush),
      .push(arrives),
      .in_data(axi_rdata),
      .out_valid(data_valid),
      .out_ready(data_ready),
      .out_data(data)
  );

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset)
      axi_arvalid && !axi_arready |=> axi_arvalid && $stable(axi_araddr) && $stable(axi_arlen));
  assert property (@(posedge clock) disable iff (reset)
      axi_arvalid |-> 13'(axi_araddr[11:0]) + {1'b0, axi_arlen, 4'd0} < 13'd4096);
  assert property (@(posedge clock) disable iff (reset) axi_rvalid |-> expected != 0);
`endif

endmodule
