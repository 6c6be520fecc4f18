// The memory system of the accelerator without its units: a reader, a writer, on-chip memory and a
// weight port, with their streams and AXI ports outside, for rtl_memory_bench.py.
module rtl_memory
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = RTL_BUILD,
    localparam int unsigned LINE_BITS = 8 * BUILD.input_lanes,
    localparam int unsigned PLACE_BITS = $clog2(BUILD.scratch_bytes / BUILD.input_lanes)
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         read_idle,
    output logic         write_idle,
    output logic         weights_idle,
    output logic         read_failed,
    output logic         write_failed,
    output logic         weights_failed,

    input  logic                   read_request_valid,
    output logic                   read_request_ready,
    input  logic [55:0]            read_request,
    output logic                   read_valid,
    input  logic                   read_ready,
    output logic [2*LINE_BITS-1:0] read_data,

    input  logic                   write_request_valid,
    output logic                   write_request_ready,
    input  logic [55:0]            write_request,
    input  logic                   write_valid,
    output logic                   write_ready,
    input  logic [2*LINE_BITS-1:0] write_data,

    input  logic         weights_request_valid,
    output logic         weights_request_ready,
    input  logic [63:0]  weights_request,
    output logic         weights_valid,
    input  logic         weights_ready,
    output logic [127:0] weights_data,

    output logic         memory_arid,
    output logic [63:0]  memory_araddr,
    output logic [7:0]   memory_arlen,
    output logic [2:0]   memory_arsize,
    output logic [1:0]   memory_arburst,
    output logic         memory_arvalid,
    input  logic         memory_arready,
    input  logic         memory_rid,
    input  logic [127:0] memory_rdata,
    input  logic [1:0]   memory_rresp,
    input  logic         memory_rlast,
    input  logic         memory_rvalid,
    output logic         memory_rready,
    output logic         memory_awid,
    output logic [63:0]  memory_awaddr,
    output logic [7:0]   memory_awlen,
    output logic [2:0]   memory_awsize,
    output logic [1:0]   memory_awburst,
    output logic         memory_awvalid,
    input  logic         memory_awready,
    output logic [127:0] memory_wdata,
    output logic [15:0]  memory_wstrb,
    output logic         memory_wlast,
    output logic         memory_wvalid,
    input  logic         memory_wready,
    input  logic         memory_bid,
    input  logic [1:0]   memory_bresp,
    input  logic         memory_bvalid,
    output logic         memory_bready,

    output logic         stream_arid,
    output logic [63:0]  stream_araddr,
    output logic [7:0]   stream_arlen,
    output logic [2:0]   stream_arsize,
    output logic [1:0]   stream_arburst,
    output logic         stream_arvalid,
    input  logic         stream_arready,
    input  logic         stream_rid,
    input  logic [127:0] stream_rdata,
    input  logic [1:0]   stream_rresp,
    input  logic         stream_rlast,
    input  logic         stream_rvalid,
    output logic         stream_rready
);

  localparam int unsigned WEIGHT_BEATS = 512;  // few enough to be full in a bench
  logic scratch_read_valid, scratch_read_pair, scratch_found_valid, waits, external;
  logic [$clog2(WEIGHT_BEATS):0] weights_waiting;
  logic scratch_write_valid, scratch_write_pair;
  logic [PLACE_BITS-1:0] scratch_read_line, scratch_write_line;
  logic [1:0][LINE_BITS-1:0] scratch_found, scratch_write_data;

  reader #(
      .BUILD(BUILD)
  ) memory_reader (
      .clock,
      .reset,
      .base,
      .flush,
      .idle(read_idle),
      .failed(read_failed),
      .waits,
      .external,
      .request_valid(read_request_valid),
      .request_ready(read_request_ready),
      .request(read_request),
      .data_valid(read_valid),
      .data_ready(read_ready),
      .data(read_data),
      .scratch_valid(scratch_read_valid),
      .scratch_pair(scratch_read_pair),
      .scratch_line(scratch_read_line),
      .scratch_data_valid(scratch_found_valid),
      .scratch_data(scratch_found),
      .axi_araddr(memory_araddr),
      .axi_arlen(memory_arlen),
      .axi_arvalid(memory_arvalid),
      .axi_arready(memory_arready),
      .axi_rdata(memory_rdata),
      .axi_rerror(memory_rresp[1]),
      .axi_rvalid(memory_rvalid),
      .axi_rready(memory_rready)
  );

  writer #(
      .BUILD(BUILD)
  ) memory_writer (
      .clock,
      .reset,
      .base,
      .flush,
      .idle(write_idle),
      .failed(write_failed),
      .request_valid(write_request_valid),
      .request_ready(write_request_ready),
      .request(write_request),
      .data_valid(write_valid),
      .data_ready(write_ready),
      .data(write_data),
      .scratch_valid(scratch_write_valid),
      .scratch_pair(scratch_write_pair),
      .scratch_line(scratch_write_line),
      .scratch_data(scratch_write_data),
      .axi_awaddr(memory_awaddr),
      .axi_awlen(memory_awlen),
      .axi_awvalid(memory_awvalid),
      .axi_awready(memory_awready),
      .axi_wdata(memory_wdata),
      .axi_wstrb(memory_wstrb),
      .axi_wlast(memory_wlast),
      .axi_wvalid(memory_wvalid),
      .axi_wready(memory_wready),
      .axi_berror(memory_bresp[1]),
      .axi_bvalid(memory_bvalid),
      .axi_bready(memory_bready)
  );

  scratch #(
      .BUILD(BUILD)
  ) on_chip (
      .clock,
      .reset,
      .read_valid(scratch_read_valid),
      .read_line(scratch_read_line),
      .data_valid(scratch_found_valid),
      .data(scratch_found),
      .write_valid(scratch_write_valid),
      .write_pair(scratch_write_pair),
      .write_line(scratch_write_line),
      .write_data(scratch_write_data)
  );

  weight_port #(
      .DEPTH(WEIGHT_BEATS)
  ) weights (
      .clock,
      .reset,
      .base,
      .flush,
      .idle(weights_idle),
      .failed(weights_failed),
      .room(($clog2(WEIGHT_BEATS) + 1)'(WEIGHT_BEATS)),
      .waiting(weights_waiting),
      .request_valid(weights_request_valid),
      .request_ready(weights_request_ready),
      .request(weights_request),
      .data_valid(weights_valid),
      .data_ready(weights_ready),
      .data(weights_data),
      .axi_araddr(stream_araddr),
      .axi_arlen(stream_arlen),
      .axi_arvalid(stream_arvalid),
      .axi_arready(stream_arready),
      .axi_rdata(stream_rdata),
      .axi_rerror(stream_rresp[1]),
      .axi_rvalid(stream_rvalid),
      .axi_rready(stream_rready)
  );

  assign {memory_arid, memory_awid, stream_arid} = '0;
  assign memory_arsize = 3'd4;
  assign memory_awsize = 3'd4;
  assign stream_arsize = 3'd4;
  assign memory_arburst = 2'b01;
  assign memory_awburst = 2'b01;
  assign stream_arburst = 2'b01;

endmodule
