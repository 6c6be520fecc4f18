// Two AXI4 read masters on one port. Bursts are served in the order in which they were asked for, so
// that any port will do: one without identifiers, too. Both masters take data at all times.
//
// Interface: channel 0 goes first when both ask. Latency 1 for addresses, 0 for data.
// Resources aimed at, not measured: 150 LUT.
module axi_read_arbiter #(
    parameter int unsigned OUTSTANDING = 32  // bursts in flight
) (
    input logic clock,
    input logic reset,

    input  logic [1:0][63:0] master_araddr,
    input  logic [1:0][7:0]  master_arlen,
    input  logic [1:0]       master_arvalid,
    output logic [1:0]       master_arready,
    output logic [1:0]       master_rvalid,

    output logic [63:0] axi_araddr,
    output logic [7:0]  axi_arlen,
    output logic        axi_arvalid,
    input  logic        axi_arready,
    input  logic        axi_rlast,
    input  logic        axi_rvalid
);

  logic chosen, take, room, owner;

  assign chosen = !master_arvalid[0];
  assign take = |master_arvalid && room && (!axi_arvalid || axi_arready);
  assign master_arready = {take && chosen, take && !chosen};

  always_ff @(posedge clock) begin
    if (reset) axi_arvalid <= 1'b0;
    else if (take) axi_arvalid <= 1'b1;
    else if (axi_arready) axi_arvalid <= 1'b0;
    if (take) begin
      axi_araddr <= master_araddr[chosen];
      axi_arlen <= master_arlen[chosen];
    end
  end

  logic owned;
  fifo #(
      .WIDTH(1),
      .DEPTH(OUTSTANDING)
  ) owners (
      .clock,
      .reset,
      .in_valid(take),
      .in_ready(room),
      .in_data(chosen),
      .out_valid(owned),
      .out_ready(axi_rvalid && axi_rlast),
      .out_data(owner)
  );

  assign master_rvalid = {axi_rvalid && owner, axi_rvalid && !owner};

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) axi_rvalid |-> owned);
`else
  logic unused;
  assign unused = owned;
`endif

endmodule
