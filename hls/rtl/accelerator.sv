// The accelerator: descriptors from external memory are executed one after the other.
//
// Interface: control registers (AXI4-Lite; gearshift_hls/registers.py), four AXI4 ports that read
// weights and one that reads and writes everything else, all of the same memory; an interrupt line.
// Only increasing bursts of whole 16-byte beats, one identifier, none crosses 4 KiB. `reset` stops
// everything at once: whoever resets it while it reads or writes resets its ports' other ends too.
// `executing`, `descriptor_number` and `descriptor_opcode` show what runs, for whoever watches.
// Latency and initiation interval: those of the commands; from the end of one, its writes in memory,
// to the start of the next one cycle.
// Resources of ZCU104_BUILD, estimated by Yosys, not measured: 154,000 LUT, 116,000 FF, 1,062 DSP,
// 64 UltraRAM, 218 block RAM.
module accelerator
  import gearshift_pkg::*;
  import memory_pkg::*;
  import sequencer_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic        clock,
    input  logic        reset,
    output logic        interrupt_request,
    output logic        executing,
    output logic [23:0] descriptor_number,
    output logic [7:0]  descriptor_opcode,

    input  logic [11:0] s_axi_control_awaddr,
    input  logic [2:0]  s_axi_control_awprot,
    input  logic        s_axi_control_awvalid,
    output logic        s_axi_control_awready,
    input  logic [31:0] s_axi_control_wdata,
    input  logic [3:0]  s_axi_control_wstrb,
    input  logic        s_axi_control_wvalid,
    output logic        s_axi_control_wready,
    output logic [1:0]  s_axi_control_bresp,
    output logic        s_axi_control_bvalid,
    input  logic        s_axi_control_bready,
    input  logic [11:0] s_axi_control_araddr,
    input  logic [2:0]  s_axi_control_arprot,
    input  logic        s_axi_control_arvalid,
    output logic        s_axi_control_arready,
    output logic [31:0] s_axi_control_rdata,
    output logic [1:0]  s_axi_control_rresp,
    output logic        s_axi_control_rvalid,
    input  logic        s_axi_control_rready,

    output logic         m_axi_weights_0_arid,
    output logic [63:0]  m_axi_weights_0_araddr,
    output logic [7:0]   m_axi_weights_0_arlen,
    output logic [2:0]   m_axi_weights_0_arsize,
    output logic [1:0]   m_axi_weights_0_arburst,
    output logic [3:0]   m_axi_weights_0_arcache,
    output logic [2:0]   m_axi_weights_0_arprot,
    output logic         m_axi_weights_0_arvalid,
    input  logic         m_axi_weights_0_arready,
    input  logic         m_axi_weights_0_rid,
    input  logic [127:0] m_axi_weights_0_rdata,
    input  logic [1:0]   m_axi_weights_0_rresp,
    input  logic         m_axi_weights_0_rlast,
    input  logic         m_axi_weights_0_rvalid,
    output logic         m_axi_weights_0_rready,

    output logic         m_axi_weights_1_arid,
    output logic [63:0]  m_axi_weights_1_araddr,
    output logic [7:0]   m_axi_weights_1_arlen,
    output logic [2:0]   m_axi_weights_1_arsize,
    output logic [1:0]   m_axi_weights_1_arburst,
    output logic [3:0]   m_axi_weights_1_arcache,
    output logic [2:0]   m_axi_weights_1_arprot,
    output logic         m_axi_weights_1_arvalid,
    input  logic         m_axi_weights_1_arready,
    input  logic         m_axi_weights_1_rid,
    input  logic [127:0] m_axi_weights_1_rdata,
    input  logic [1:0]   m_axi_weights_1_rresp,
    input  logic         m_axi_weights_1_rlast,
    input  logic         m_axi_weights_1_rvalid,
    output logic         m_axi_weights_1_rready,

    output logic         m_axi_weights_2_arid,
    output logic [63:0]  m_axi_weights_2_araddr,
    output logic [7:0]   m_axi_weights_2_arlen,
    output logic [2:0]   m_axi_weights_2_arsize,
    output logic [1:0]   m_axi_weights_2_arburst,
    output logic [3:0]   m_axi_weights_2_arcache,
    output logic [2:0]   m_axi_weights_2_arprot,
    output logic         m_axi_weights_2_arvalid,
    input  logic         m_axi_weights_2_arready,
    input  logic         m_axi_weights_2_rid,
    input  logic [127:0] m_axi_weights_2_rdata,
    input  logic [1:0]   m_axi_weights_2_rresp,
    input  logic         m_axi_weights_2_rlast,
    input  logic         m_axi_weights_2_rvalid,
    output logic         m_axi_weights_2_rready,

    output logic         m_axi_weights_3_arid,
    output logic [63:0]  m_axi_weights_3_araddr,
    output logic [7:0]   m_axi_weights_3_arlen,
    output logic [2:0]   m_axi_weights_3_arsize,
    output logic [1:0]   m_axi_weights_3_arburst,
    output logic [3:0]   m_axi_weights_3_arcache,
    output logic [2:0]   m_axi_weights_3_arprot,
    output logic         m_axi_weights_3_arvalid,
    input  logic         m_axi_weights_3_arready,
    input  logic         m_axi_weights_3_rid,
    input  logic [127:0] m_axi_weights_3_rdata,
    input  logic [1:0]   m_axi_weights_3_rresp,
    input  logic         m_axi_weights_3_rlast,
    input  logic         m_axi_weights_3_rvalid,
    output logic         m_axi_weights_3_rready,

    output logic         m_axi_memory_arid,
    output logic [63:0]  m_axi_memory_araddr,
    output logic [7:0]   m_axi_memory_arlen,
    output logic [2:0]   m_axi_memory_arsize,
    output logic [1:0]   m_axi_memory_arburst,
    output logic [3:0]   m_axi_memory_arcache,
    output logic [2:0]   m_axi_memory_arprot,
    output logic         m_axi_memory_arvalid,
    input  logic         m_axi_memory_arready,
    input  logic         m_axi_memory_rid,
    input  logic [127:0] m_axi_memory_rdata,
    input  logic [1:0]   m_axi_memory_rresp,
    input  logic         m_axi_memory_rlast,
    input  logic         m_axi_memory_rvalid,
    output logic         m_axi_memory_rready,
    output logic         m_axi_memory_awid,
    output logic [63:0]  m_axi_memory_awaddr,
    output logic [7:0]   m_axi_memory_awlen,
    output logic [2:0]   m_axi_memory_awsize,
    output logic [1:0]   m_axi_memory_awburst,
    output logic [3:0]   m_axi_memory_awcache,
    output logic [2:0]   m_axi_memory_awprot,
    output logic         m_axi_memory_awvalid,
    input  logic         m_axi_memory_awready,
    output logic [127:0] m_axi_memory_wdata,
    output logic [15:0]  m_axi_memory_wstrb,
    output logic         m_axi_memory_wlast,
    output logic         m_axi_memory_wvalid,
    input  logic         m_axi_memory_wready,
    input  logic         m_axi_memory_bid,
    input  logic [1:0]   m_axi_memory_bresp,
    input  logic         m_axi_memory_bvalid,
    output logic         m_axi_memory_bready
);

  localparam int unsigned WORD_BITS = 16 * BUILD.input_lanes;
  localparam int unsigned UNITS = 4;  // product, norm, route, resize

  // What is the same for all bursts.
  localparam logic [2:0] BEAT_SIZE = 3'($clog2(BEAT_BYTES));
  localparam logic [1:0] INCREASING = 2'b01;
  localparam logic [3:0] BUFFERABLE = 4'b0011;

  // Control.

  logic start_valid, start_ready, active, program_done;
  arguments_t start_arguments;
  logic [31:0] result;
  logic [COUNTERS-1:0][31:0] counts;

  control registers (
      .clock, .reset, .axi_awaddr(s_axi_control_awaddr), .axi_awvalid(s_axi_control_awvalid),
      .axi_awready(s_axi_control_awready), .axi_wdata(s_axi_control_wdata),
      .axi_wstrb(s_axi_control_wstrb), .axi_wvalid(s_axi_control_wvalid),
      .axi_wready(s_axi_control_wready), .axi_bresp(s_axi_control_bresp),
      .axi_bvalid(s_axi_control_bvalid), .axi_bready(s_axi_control_bready),
      .axi_araddr(s_axi_control_araddr), .axi_arvalid(s_axi_control_arvalid),
      .axi_arready(s_axi_control_arready), .axi_rdata(s_axi_control_rdata),
      .axi_rresp(s_axi_control_rresp), .axi_rvalid(s_axi_control_rvalid),
      .axi_rready(s_axi_control_rready), .interrupt_request, .start_valid, .start_ready,
      .start(start_arguments), .active, .program_done, .result, .counts
  );

  // Descriptors.

  logic descriptor_valid, descriptor_ready, fetching, cancelling, cancel;
  logic [2:0] running_program, fetched_program;
  descriptor_t descriptor;
  logic [63:0] fetch_araddr;
  logic [7:0] fetch_arlen;
  logic fetch_arvalid, fetch_arready, fetch_rvalid, fetch_rready;

  fetch #(.BUILD(BUILD)) fetcher (
      .clock, .reset, .start_valid, .start_ready, .start(start_arguments), .descriptor_valid,
      .descriptor_ready, .descriptor, .active(fetching), .cancelling, .cancel,
      .cancel_program(running_program), .program_number(fetched_program),
      .axi_araddr(fetch_araddr), .axi_arlen(fetch_arlen), .axi_arvalid(fetch_arvalid),
      .axi_arready(fetch_arready), .axi_rdata(m_axi_memory_rdata),
      .axi_rerror(m_axi_memory_rresp[1]), .axi_rvalid(fetch_rvalid), .axi_rready(fetch_rready)
  );

  logic [UNITS-1:0] start, selected, done, fault;
  logic [WORDS-1:0][31:0] descriptor_words;
  arguments_t arguments;
  logic read_idle, write_idle, memory_idle, memory_failed, bus_failed, flush, running;
  logic reads_external;
  logic [3:0] weights_idle, weights_failed;

  // A program that failed has ended when none of its reads is on its way, descriptors included.
  assign memory_idle = read_idle && write_idle && &weights_idle && !cancelling;
  assign bus_failed = memory_failed || |weights_failed;
  assign active = fetching || executing;

  sequencer executor (
      .clock, .reset, .descriptor_valid, .descriptor_ready, .descriptor, .cancel,
      .program_number(running_program), .start, .selected, .done, .fault, .words(descriptor_words),
      .arguments, .write_idle, .memory_idle, .bus_failed, .flush, .running, .executing,
      .number(descriptor_number), .program_done, .result
  );

  logic [31:0] words[WORDS];
  always_comb begin
    for (int unsigned word = 0; word < WORDS; word++) words[word] = descriptor_words[word];
  end
  assign descriptor_opcode = words[0][7:0];

  // Memory.

  traffic_t traffic;
  logic read_request_valid, read_request_ready, read_valid, read_ready;
  logic write_request_valid, write_request_ready, write_valid, write_ready;
  request_t read_request, write_request;
  logic [WORD_BITS-1:0] read_data, write_data;

  memory_system #(.BUILD(BUILD)) memory (
      .clock, .reset, .base(arguments.memory), .flush, .read_idle, .write_idle,
      .failed(memory_failed), .waits(traffic.memory_waits), .reads_external,
      .scratch_read(traffic.scratch_read), .scratch_written(traffic.scratch_written),
      .read_request_valid, .read_request_ready, .read_request, .read_valid, .read_ready, .read_data,
      .write_request_valid, .write_request_ready, .write_request, .write_valid, .write_ready,
      .write_data, .fetch_araddr, .fetch_arlen, .fetch_arvalid, .fetch_arready, .fetch_rvalid,
      .fetch_rready, .axi_araddr(m_axi_memory_araddr), .axi_arlen(m_axi_memory_arlen),
      .axi_arvalid(m_axi_memory_arvalid), .axi_arready(m_axi_memory_arready),
      .axi_rdata(m_axi_memory_rdata), .axi_rerror(m_axi_memory_rresp[1]),
      .axi_rlast(m_axi_memory_rlast), .axi_rvalid(m_axi_memory_rvalid),
      .axi_rready(m_axi_memory_rready), .axi_awaddr(m_axi_memory_awaddr),
      .axi_awlen(m_axi_memory_awlen), .axi_awvalid(m_axi_memory_awvalid),
      .axi_awready(m_axi_memory_awready), .axi_wdata(m_axi_memory_wdata),
      .axi_wstrb(m_axi_memory_wstrb), .axi_wlast(m_axi_memory_wlast),
      .axi_wvalid(m_axi_memory_wvalid), .axi_wready(m_axi_memory_wready),
      .axi_berror(m_axi_memory_bresp[1]), .axi_bvalid(m_axi_memory_bvalid),
      .axi_bready(m_axi_memory_bready)
  );

  assign {m_axi_memory_arid, m_axi_memory_awid} = '0;
  assign {m_axi_memory_arsize, m_axi_memory_awsize} = {2{BEAT_SIZE}};
  assign {m_axi_memory_arburst, m_axi_memory_awburst} = {2{INCREASING}};
  assign {m_axi_memory_arcache, m_axi_memory_awcache} = {2{BUFFERABLE}};
  assign {m_axi_memory_arprot, m_axi_memory_awprot} = '0;

  // Weights.

  logic [3:0][63:0] weights_araddr;
  logic [3:0][7:0] weights_arlen;
  logic [3:0] weights_arvalid, weights_arready, weights_rerror, weights_rvalid, weights_rready;
  logic [3:0][127:0] weights_rdata;
  logic weights_request_valid[4], weights_request_ready[4], weights_valid[4], weights_ready[4];
  stream_t weights_request[4];
  logic [127:0] weights[4];

  weight_ports weight_streams (
      .clock, .reset, .base(arguments.weights), .flush, .wanted(reads_external),
      .idle(weights_idle), .failed(weights_failed), .request_valid(weights_request_valid),
      .request_ready(weights_request_ready), .request(weights_request), .data_valid(weights_valid),
      .data_ready(weights_ready), .data(weights), .axi_araddr(weights_araddr),
      .axi_arlen(weights_arlen), .axi_arvalid(weights_arvalid), .axi_arready(weights_arready),
      .axi_rdata(weights_rdata), .axi_rerror(weights_rerror), .axi_rvalid(weights_rvalid),
      .axi_rready(weights_rready)
  );

  assign {
    m_axi_weights_3_arid, m_axi_weights_2_arid, m_axi_weights_1_arid, m_axi_weights_0_arid
  } = '0;
  assign {
    m_axi_weights_3_araddr, m_axi_weights_2_araddr, m_axi_weights_1_araddr, m_axi_weights_0_araddr
  } = weights_araddr;
  assign {
    m_axi_weights_3_arlen, m_axi_weights_2_arlen, m_axi_weights_1_arlen, m_axi_weights_0_arlen
  } = weights_arlen;
  assign {
    m_axi_weights_3_arsize, m_axi_weights_2_arsize, m_axi_weights_1_arsize, m_axi_weights_0_arsize
  } = {4{BEAT_SIZE}};
  assign {
    m_axi_weights_3_arburst, m_axi_weights_2_arburst,
    m_axi_weights_1_arburst, m_axi_weights_0_arburst
  } = {4{INCREASING}};
  assign {
    m_axi_weights_3_arcache, m_axi_weights_2_arcache,
    m_axi_weights_1_arcache, m_axi_weights_0_arcache
  } = {4{BUFFERABLE}};
  assign {
    m_axi_weights_3_arprot, m_axi_weights_2_arprot, m_axi_weights_1_arprot, m_axi_weights_0_arprot
  } = '0;
  assign {
    m_axi_weights_3_arvalid, m_axi_weights_2_arvalid,
    m_axi_weights_1_arvalid, m_axi_weights_0_arvalid
  } = weights_arvalid;
  assign {
    m_axi_weights_3_rready, m_axi_weights_2_rready, m_axi_weights_1_rready, m_axi_weights_0_rready
  } = weights_rready;
  assign weights_arready = {
    m_axi_weights_3_arready, m_axi_weights_2_arready,
    m_axi_weights_1_arready, m_axi_weights_0_arready
  };
  assign weights_rdata = {
    m_axi_weights_3_rdata, m_axi_weights_2_rdata, m_axi_weights_1_rdata, m_axi_weights_0_rdata
  };
  assign weights_rvalid = {
    m_axi_weights_3_rvalid, m_axi_weights_2_rvalid, m_axi_weights_1_rvalid, m_axi_weights_0_rvalid
  };
  assign weights_rerror = {
    m_axi_weights_3_rresp[1], m_axi_weights_2_rresp[1],
    m_axi_weights_1_rresp[1], m_axi_weights_0_rresp[1]
  };

  // Units.

  activity_t activity;

  units #(.BUILD(BUILD)) executing_units (
      .clock, .reset, .start, .selected, .words, .done, .fault, .activity, .flush,
      .next_valid(descriptor_valid && !descriptor.first && descriptor.status == STATUS_DONE),
      .next_words(descriptor.words), .read_request_valid,
      .read_request_ready, .read_request, .read_valid, .read_ready, .read_data,
      .write_request_valid, .write_request_ready, .write_request, .write_valid, .write_ready,
      .write_data, .write_idle, .weights_request_valid, .weights_request_ready, .weights_request,
      .weights_valid, .weights_ready, .weights
  );

  // Performance.

  assign traffic.memory_read = m_axi_memory_rvalid && m_axi_memory_rready;
  assign traffic.memory_written = m_axi_memory_wvalid && m_axi_memory_wready;
  // Counted when they are used: they may come before their command.
  always_comb begin
    for (int port = 0; port < 4; port++)
      traffic.weights_read[port] = weights_valid[port] && weights_ready[port];
  end

  counters #(.BUILD(BUILD)) performance (
      .clock, .reset, .active, .running, .opcode(descriptor_opcode), .activity, .traffic,
      .program_done, .counts
  );

  logic unused;
  assign unused = &{
      s_axi_control_awprot, s_axi_control_arprot, fetched_program,
      arguments.memory_bytes, arguments.write_base, arguments.first_descriptor,
      m_axi_memory_rid, m_axi_memory_rresp[0], m_axi_memory_bid, m_axi_memory_bresp[0],
      m_axi_weights_0_rid, m_axi_weights_0_rresp[0], m_axi_weights_0_rlast,
      m_axi_weights_1_rid, m_axi_weights_1_rresp[0], m_axi_weights_1_rlast,
      m_axi_weights_2_rid, m_axi_weights_2_rresp[0], m_axi_weights_2_rlast,
      m_axi_weights_3_rid, m_axi_weights_3_rresp[0], m_axi_weights_3_rlast
  };

endmodule
