// An AXI4 write master: requests for beats of 16 bytes become bursts, whose data come in order.
//
// A burst is announced when beats are coming, and its data never wait for the bus to take its
// address. Bursts stay inside an aligned block of MAX_BURST beats, so none crosses 4 KiB.
// Interface: `base` is the address that requests are relative to, a multiple of 4096; it may change
// while `idle`: every beat of every request was taken by the bus and answered. An error response
// sets `failed` for a cycle. `flush` (held until `idle`) drops all requests and ends announced
// bursts with beats that write nothing.
// Latency 4, initiation interval: one beat a cycle.
// Resources aimed at, not measured: 400 LUT.
module axi_writer #(
    parameter int unsigned MAX_BURST = 64,  // a power of two, at most 256
    parameter int unsigned REQUESTS = 8,
    parameter int unsigned OUTSTANDING = 16  // bursts without response; a power of two
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         idle,
    output logic         failed,

    input  logic        request_valid,
    output logic        request_ready,
    input  logic [31:4] request_address,
    input  logic [27:0] request_beats,

    input  logic         data_valid,
    output logic         data_ready,
    input  logic [127:0] data,

    output logic [63:0]  axi_awaddr,
    output logic [7:0]   axi_awlen,
    output logic         axi_awvalid,
    input  logic         axi_awready,
    output logic [127:0] axi_wdata,
    output logic [15:0]  axi_wstrb,
    output logic         axi_wlast,
    output logic         axi_wvalid,
    input  logic         axi_wready,
    input  logic         axi_berror,
    input  logic         axi_bvalid,
    output logic         axi_bready
);

  localparam int unsigned BURST_BITS = $clog2(MAX_BURST);
  localparam int unsigned COUNT_BITS = $clog2(OUTSTANDING) + 1;

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

  logic answered;
  logic [COUNT_BITS-1:0] outstanding;

  // Beats of the burst that is written. A burst may begin in the cycle in which the last one ends.
  logic [BURST_BITS:0] to_write;
  logic put;

  assign plan = burst_valid && data_valid && (!axi_awvalid || axi_awready)
      && outstanding != COUNT_BITS'(OUTSTANDING) && (to_write == 0 || (put && to_write == 1));
  assign put = to_write != 0 && (data_valid || flush) && (!axi_wvalid || axi_wready);
  assign data_ready = flush || put;

  always_ff @(posedge clock) begin
    if (reset) to_write <= '0;
    else if (plan) to_write <= burst;
    else if (put) to_write <= to_write - 1'b1;
  end

  always_ff @(posedge clock) begin
    if (reset) axi_awvalid <= 1'b0;
    else if (plan) axi_awvalid <= 1'b1;
    else if (axi_awready) axi_awvalid <= 1'b0;
    if (plan) begin
      axi_awaddr <= {base, 12'd0} + {32'd0, address, 4'd0};
      axi_awlen <= 8'(burst) - 8'd1;
    end
  end

  always_ff @(posedge clock) begin
    if (reset) axi_wvalid <= 1'b0;
    else if (put) axi_wvalid <= 1'b1;
    else if (axi_wready) axi_wvalid <= 1'b0;
    if (put) begin
      axi_wdata <= data;
      axi_wstrb <= flush ? '0 : '1;
      axi_wlast <= to_write == 1;
    end
  end

  assign axi_bready = 1'b1;
  assign answered = axi_bvalid;

  always_ff @(posedge clock) begin
    if (reset) outstanding <= '0;
    else outstanding <= outstanding + COUNT_BITS'(plan) - COUNT_BITS'(answered);
    failed <= !reset && answered && axi_berror;
  end

  assign idle = cut && outstanding == 0;

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset)
      axi_awvalid && !axi_awready |=> axi_awvalid && $stable(axi_awaddr) && $stable(axi_awlen));
  assert property (@(posedge clock) disable iff (reset)
      axi_wvalid && !axi_wready |=>
      axi_wvalid && $stable(axi_wdata) && $stable(axi_wstrb) && $stable(axi_wlast));
  assert property (@(posedge clock) disable iff (reset)
      axi_awvalid |-> 13'(axi_awaddr[11:0]) + {1'b0, axi_awlen, 4'd0} < 13'd4096);
  assert property (@(posedge clock) disable iff (reset) axi_bvalid |-> outstanding != 0);
`endif

endmodule
