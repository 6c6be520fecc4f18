// The four ports that stream weights, whose beats are used in step.
//
// A port that memory serves better than another would fill its queue with what cannot be used yet,
// at the cost of the other's rate: no port is ahead of the slowest by more than LEAD beats, those
// that it has asked for included. Nor is any ahead of the array by more than FEW beats while the
// memory is `wanted` by others, who would wait for what is not needed yet.
//
// Interface: that of memory_pkg, an element a port; `base`, `flush`, `idle` and `failed` are those
// of axi_reader.
// Latency: that of weight_port. Resources aimed at, not measured: four of them, 150 LUT.
module weight_ports
  import memory_pkg::*;
#(
    parameter int unsigned DEPTH = 2048,  // beats that a port's queue holds; a power of two
    parameter int unsigned LEAD = 256,
    parameter int unsigned FEW = 512
) (
    input  logic              clock,
    input  logic              reset,
    input  logic [3:0][63:12] base,
    input  logic              flush,
    input  logic              wanted,
    output logic [3:0]        idle,
    output logic [3:0]        failed,

    input  logic         request_valid[4],
    output logic         request_ready[4],
    input  stream_t      request      [4],
    output logic         data_valid   [4],
    input  logic         data_ready   [4],
    output logic [127:0] data         [4],

    output logic [3:0][63:0]  axi_araddr,
    output logic [3:0][7:0]   axi_arlen,
    output logic [3:0]        axi_arvalid,
    input  logic [3:0]        axi_arready,
    input  logic [3:0][127:0] axi_rdata,
    input  logic [3:0]        axi_rerror,
    input  logic [3:0]        axi_rvalid,
    output logic [3:0]        axi_rready
);

  typedef logic [$clog2(DEPTH):0] count_t;

  count_t [3:0] waiting;
  count_t slowest, most, room;

  function automatic count_t lower(count_t a, count_t b);
    return a < b ? a : b;
  endfunction

  always_ff @(posedge clock) begin
    slowest <= lower(lower(waiting[0], waiting[1]), lower(waiting[2], waiting[3]));
    most <= wanted ? count_t'(FEW) : count_t'(DEPTH);
    room <= slowest + count_t'(LEAD) > most ? most : slowest + count_t'(LEAD);
    if (reset) begin
      slowest <= '0;
      most <= '0;
      room <= '0;
    end
  end

  for (genvar port = 0; port < 4; port++) begin : g_port
    weight_port #(
        .DEPTH(DEPTH)
    ) stream (
        .clock,
        .reset,
        .base(base[port]),
        .flush,
        .idle(idle[port]),
        .failed(failed[port]),
        .room,
        .waiting(waiting[port]),
        .request_valid(request_valid[port]),
        .request_ready(request_ready[port]),
        .request(request[port]),
        .data_valid(data_valid[port]),
        .data_ready(data_ready[port]),
        .data(data[port]),
        .axi_araddr(axi_araddr[port]),
        .axi_arlen(axi_arlen[port]),
        .axi_arvalid(axi_arvalid[port]),
        .axi_arready(axi_arready[port]),
        .axi_rdata(axi_rdata[port]),
        .axi_rerror(axi_rerror[port]),
        .axi_rvalid(axi_rvalid[port]),
        .axi_rready(axi_rready[port])
    );
  end

endmodule
