// The reader: lines of external or on-chip memory, for the unit that runs.
//
// Interface: that of memory_pkg. Requests queue (8 of them) and are answered in order: from on-chip
// memory a word a cycle without a bubble between requests, from external memory at the port's 16
// bytes a cycle. `base`, `flush`, `idle` and `failed` are those of axi_reader, for both memories.
// `waits`: an answer from external memory is due and has not come; `external`: beats are asked for
// or on their way.
// Latency: 8 cycles from on-chip memory; from external memory 8 and its own.
// Resources aimed at, not measured: 2 block RAM, 1,500 LUT.
module reader
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE_BITS = 8 * BUILD.input_lanes,
    localparam int unsigned LINE_BEATS = BUILD.input_lanes / BEAT_BYTES,
    localparam int unsigned LINE_SHIFT = $clog2(BUILD.input_lanes),
    localparam int unsigned PLACE_BITS = $clog2(BUILD.scratch_bytes) - LINE_SHIFT
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         idle,
    output logic         failed,
    output logic         waits,
    output logic         external,

    input  logic     request_valid,
    output logic     request_ready,
    input  request_t request,

    output logic                      data_valid,
    input  logic                      data_ready,
    output logic [1:0][LINE_BITS-1:0] data,

    output logic                      scratch_valid,
    output logic                      scratch_pair,   // of the word both lines are wanted
    output logic [PLACE_BITS-1:0]     scratch_line,
    input  logic                      scratch_data_valid,
    input  logic [1:0][LINE_BITS-1:0] scratch_data,

    output logic [63:0]  axi_araddr,
    output logic [7:0]   axi_arlen,
    output logic         axi_arvalid,
    input  logic         axi_arready,
    input  logic [127:0] axi_rdata,
    input  logic         axi_rerror,
    input  logic         axi_rvalid,
    output logic         axi_rready
);

  localparam int unsigned REQUESTS = 8;
  localparam int unsigned QUEUE_BEATS = 512;
  localparam int unsigned FOUND = 16;  // words from on-chip memory, more than its latency

  logic on_chip, order_ready, scratch_ready, external_ready;
  assign on_chip = request.address[31];
  assign request_ready = order_ready && scratch_ready && external_ready;

  // Whose words come next, and how many.
  logic order_valid, order_done, from_scratch;
  logic [23:0] lines_due, lines_taken;

  fifo #(
      .WIDTH(25),
      .DEPTH(2 * REQUESTS)
  ) order (
      .clock,
      .reset(reset || flush),
      .in_valid(request_valid && scratch_ready && external_ready),
      .in_ready(order_ready),
      .in_data({on_chip, request.lines}),
      .out_valid(order_valid),
      .out_ready(order_done),
      .out_data({from_scratch, lines_due})
  );

  logic found_valid, packed_valid, taken;
  logic [1:0][LINE_BITS-1:0] found, packed_word;

  assign data_valid = order_valid && (from_scratch ? found_valid : packed_valid);
  assign data = from_scratch ? found : packed_word;
  assign taken = data_valid && data_ready;
  assign order_done = taken && lines_due - lines_taken <= 24'd2;
  assign waits = order_valid && !from_scratch && !packed_valid;

  always_ff @(posedge clock) begin
    if (reset || flush || order_done) lines_taken <= '0;
    else if (taken) lines_taken <= lines_taken + 24'd2;
  end

  // On-chip memory: words are asked for as long as they have a place to come to.
  logic next_valid, next_ready, ask;
  logic [PLACE_BITS-1:0] next_line;
  logic [23:0] next_lines, lines_asked;
  logic [$clog2(FOUND):0] room;

  fifo #(
      .WIDTH(PLACE_BITS + 24),
      .DEPTH(REQUESTS)
  ) scratch_requests (
      .clock,
      .reset(reset || flush),
      .in_valid(request_valid && on_chip && order_ready && external_ready),
      .in_ready(scratch_ready),
      .in_data({request.address[LINE_SHIFT+:PLACE_BITS], request.lines}),
      .out_valid(next_valid),
      .out_ready(next_ready),
      .out_data({next_line, next_lines})
  );

  assign ask = next_valid && room != 0;
  assign next_ready = ask && next_lines - lines_asked <= 24'd2;

  always_ff @(posedge clock) begin
    if (reset || flush || next_ready) lines_asked <= '0;
    else if (ask) lines_asked <= lines_asked + 24'd2;
    scratch_valid <= ask && !reset && !flush;
    scratch_pair <= next_lines - lines_asked != 24'd1;
    scratch_line <= next_line + lines_asked[PLACE_BITS-1:0];
    if (reset || flush) room <= ($clog2(FOUND) + 1)'(FOUND);
    else room <= room + ($clog2(FOUND) + 1)'(taken && from_scratch) - ($clog2(FOUND) + 1)'(ask);
  end

  // A flush lasts until the words under way have come.
  logic [4:0] under_way;
  always_ff @(posedge clock) begin
    if (reset) under_way <= '0;
    else under_way <= {under_way[3:0], ask};
  end

  logic found_ready;
  fifo #(
      .WIDTH(2 * LINE_BITS),
      .DEPTH(FOUND)
  ) found_words (
      .clock,
      .reset(reset || flush),
      .in_valid(scratch_data_valid),
      .in_ready(found_ready),
      .in_data(scratch_data),
      .out_valid(found_valid),
      .out_ready(taken && from_scratch),
      .out_data(found)
  );

  // External memory.
  logic external_idle, beat_valid, beat_ready, master_ready, packer_ready;
  logic [27:0] beats;
  logic [127:0] beat;
  logic [$clog2(QUEUE_BEATS):0] unused_waiting;

  assign beats = 28'(request.lines) * 28'(LINE_BEATS);

  axi_reader #(
      .DEPTH(QUEUE_BEATS),
      .MAX_BURST(64),
      .REQUESTS(REQUESTS)
  ) master (
      .clock,
      .reset,
      .base,
      .flush,
      .idle(external_idle),
      .failed,
      .room(($clog2(QUEUE_BEATS) + 1)'(QUEUE_BEATS)),
      .waiting(unused_waiting),
      .request_valid(request_valid && !on_chip && request_ready),
      .request_ready(master_ready),
      .request_address(request.address[31:4]),
      .request_beats(beats),
      .data_valid(beat_valid),
      .data_ready(beat_ready),
      .data(beat),
      .axi_araddr,
      .axi_arlen,
      .axi_arvalid,
      .axi_arready,
      .axi_rdata,
      .axi_rerror,
      .axi_rvalid,
      .axi_rready
  );

  word_packer #(
      .BUILD(BUILD),
      .REQUESTS(2 * REQUESTS)
  ) packer (
      .clock,
      .reset(reset || flush),
      .request_valid(request_valid && !on_chip && request_ready),
      .request_ready(packer_ready),
      .request_beats(beats),
      .beat_valid,
      .beat_ready,
      .beat,
      .word_valid(packed_valid),
      .word_ready(taken && !from_scratch),
      .word(packed_word)
  );

  assign external = !external_idle;
  assign external_ready = master_ready && packer_ready;
  assign idle = !order_valid && !next_valid && external_idle && under_way == 0 && !packed_valid;

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset || flush) scratch_data_valid |-> found_ready);
  assert property (@(posedge clock) disable iff (reset) request_valid |-> request.lines != 0);
  assert property (@(posedge clock) disable iff (reset)
      request_valid && !request_ready |=> request_valid && $stable(request));
`else
  logic unused;
  assign unused = found_ready;
`endif

endmodule
