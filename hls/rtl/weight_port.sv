// A port that streams weights: linear pieces of external memory, one behind the other.
//
// Interface: streams are requested (a next one while one runs) and leave as beats of 16 bytes, in
// order; the queue hides the memory's latency, and fills while the array takes longer than the
// memory. `base`, `flush`, `idle`, `failed`, `room` and `waiting` are those of axi_reader.
// Latency: the memory's and 4 cycles; initiation interval: one beat a cycle.
// Resources aimed at, not measured: 8 block RAM for 2,048 beats, 300 LUT.
module weight_port
  import memory_pkg::*;
#(
    parameter int unsigned DEPTH = 2048  // a power of two
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         idle,
    output logic         failed,
    input  logic [$clog2(DEPTH):0] room,
    output logic [$clog2(DEPTH):0] waiting,

    input  logic    request_valid,
    output logic    request_ready,
    input  stream_t request,

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

  axi_reader #(
      .DEPTH(DEPTH),
      .MAX_BURST(32)
  ) master (
      .clock,
      .reset,
      .base,
      .flush,
      .idle,
      .failed,
      .room,
      .waiting,
      .request_valid,
      .request_ready,
      .request_address(request.address[31:4]),
      .request_beats(request.bytes[31:4]),
      .data_valid,
      .data_ready,
      .data,
      .axi_araddr,
      .axi_arlen,
      .axi_arvalid,
      .axi_arready,
      .axi_rdata,
      .axi_rerror,
      .axi_rvalid,
      .axi_rready
  );

  // Streams are whole beats.
  logic unused;
  assign unused = &{request.address[3:0], request.bytes[3:0]};

endmodule
