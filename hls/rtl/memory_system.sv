// The memory of all units but the weights': the reader, the writer, on-chip memory, and the port of
// external memory, which the fetch of descriptors shares.
//
// Interface: a unit's as memory_pkg says; `base`, `flush` and `idle` as of axi_reader and
// axi_writer, `waits` and `reads_external` as of reader; `fetch_...`: the addresses of fetch's read
// master, which gets the port's data when `fetch_rvalid`; AXI4 without what is the same for all
// bursts. `scratch_read` and `scratch_written`: lines, for the performance counters.
// Latency: those of the reader and the writer. Resources aimed at, not measured: theirs.
module memory_system
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE_BITS = 8 * BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 2 * LINE_BITS,
    localparam int unsigned PLACE_BITS = $clog2(BUILD.scratch_bytes / BUILD.input_lanes)
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         read_idle,
    output logic         write_idle,
    output logic         failed,
    output logic         waits,
    output logic         reads_external,
    output logic [1:0]   scratch_read,
    output logic [1:0]   scratch_written,

    input  logic                 read_request_valid,
    output logic                 read_request_ready,
    input  request_t             read_request,
    output logic                 read_valid,
    input  logic                 read_ready,
    output logic [WORD_BITS-1:0] read_data,
    input  logic                 write_request_valid,
    output logic                 write_request_ready,
    input  request_t             write_request,
    input  logic                 write_valid,
    output logic                 write_ready,
    input  logic [WORD_BITS-1:0] write_data,

    input  logic [63:0] fetch_araddr,
    input  logic [7:0]  fetch_arlen,
    input  logic        fetch_arvalid,
    output logic        fetch_arready,
    output logic        fetch_rvalid,
    input  logic        fetch_rready,

    output logic [63:0]  axi_araddr,
    output logic [7:0]   axi_arlen,
    output logic         axi_arvalid,
    input  logic         axi_arready,
    input  logic [127:0] axi_rdata,
    input  logic         axi_rerror,
    input  logic         axi_rlast,
    input  logic         axi_rvalid,
    output logic         axi_rready,
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

  logic read_failed, write_failed;
  logic scratch_read_valid, scratch_read_pair, scratch_found_valid;
  logic scratch_write_valid, scratch_write_pair;
  logic [PLACE_BITS-1:0] scratch_read_line, scratch_write_line;
  logic [1:0][LINE_BITS-1:0] scratch_found, scratch_write_data;

  // Masters of the port: 0 the reader, 1 the fetch.
  logic [1:0][63:0] master_araddr;
  logic [1:0][7:0] master_arlen;
  logic [1:0] master_arvalid, master_arready, master_rvalid;
  logic reader_rready;

  assign failed = read_failed || write_failed;
  assign master_araddr[1] = fetch_araddr;
  assign master_arlen[1] = fetch_arlen;
  assign master_arvalid[1] = fetch_arvalid;
  assign fetch_arready = master_arready[1];
  assign fetch_rvalid = master_rvalid[1];
  assign axi_rready = reader_rready && fetch_rready;
  assign scratch_read = {
    scratch_read_valid && scratch_read_pair, scratch_read_valid && !scratch_read_pair
  };
  assign scratch_written = {
    scratch_write_valid && scratch_write_pair, scratch_write_valid && !scratch_write_pair
  };

  reader #(
      .BUILD(BUILD)
  ) memory_reader (
      .clock,
      .reset,
      .base(base),
      .flush,
      .idle(read_idle),
      .failed(read_failed),
      .waits,
      .external(reads_external),
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
      .axi_araddr(master_araddr[0]),
      .axi_arlen(master_arlen[0]),
      .axi_arvalid(master_arvalid[0]),
      .axi_arready(master_arready[0]),
      .axi_rdata,
      .axi_rerror,
      .axi_rvalid(master_rvalid[0]),
      .axi_rready(reader_rready)
  );

  writer #(
      .BUILD(BUILD)
  ) memory_writer (
      .clock,
      .reset,
      .base(base),
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
      .axi_awaddr,
      .axi_awlen,
      .axi_awvalid,
      .axi_awready,
      .axi_wdata,
      .axi_wstrb,
      .axi_wlast,
      .axi_wvalid,
      .axi_wready,
      .axi_berror,
      .axi_bvalid,
      .axi_bready
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

  axi_read_arbiter memory_port (
      .clock,
      .reset,
      .master_araddr,
      .master_arlen,
      .master_arvalid,
      .master_arready,
      .master_rvalid,
      .axi_araddr,
      .axi_arlen,
      .axi_arvalid,
      .axi_arready,
      .axi_rlast,
      .axi_rvalid
  );

endmodule
