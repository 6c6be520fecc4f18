// The writer: lines to external or on-chip memory, for the unit that runs.
//
// Interface: that of memory_pkg. Requests queue (8 of them); their words are taken in order: for
// on-chip memory one a cycle, for external memory at the port's 16 bytes a cycle. `idle`: all that
// was taken is in memory. `base`, `flush` and `failed` are those of axi_writer.
// Latency: 2 cycles to on-chip memory.
// Resources aimed at, not measured: 1,000 LUT.
module writer
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE_BITS = 8 * BUILD.input_lanes,
    localparam int unsigned LINE_BEATS = BUILD.input_lanes / BEAT_BYTES,
    localparam int unsigned WORD_BEATS = 2 * LINE_BEATS,
    localparam int unsigned SLOT_BITS = $clog2(WORD_BEATS),
    localparam int unsigned LINE_SHIFT = $clog2(BUILD.input_lanes),
    localparam int unsigned PLACE_BITS = $clog2(BUILD.scratch_bytes) - LINE_SHIFT
) (
    input  logic         clock,
    input  logic         reset,
    input  logic [63:12] base,
    input  logic         flush,
    output logic         idle,
    output logic         failed,

    input  logic     request_valid,
    output logic     request_ready,
    input  request_t request,

    input  logic                      data_valid,
    output logic                      data_ready,
    input  logic [1:0][LINE_BITS-1:0] data,

    output logic                      scratch_valid,
    output logic                      scratch_pair,
    output logic [PLACE_BITS-1:0]     scratch_line,
    output logic [1:0][LINE_BITS-1:0] scratch_data,

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

  localparam int unsigned REQUESTS = 8;

  // Where the next words go.
  logic next_valid, next_ready, queue_ready, master_ready, on_chip, last, take, slots_free;
  logic [PLACE_BITS-1:0] next_line;
  logic [23:0] next_lines, lines_taken, lines_left;

  fifo #(
      .WIDTH(25 + PLACE_BITS),
      .DEPTH(REQUESTS)
  ) requests (
      .clock,
      .reset(reset || flush),
      .in_valid(request_valid && master_ready),
      .in_ready(queue_ready),
      .in_data({request.address[31], request.address[LINE_SHIFT+:PLACE_BITS], request.lines}),
      .out_valid(next_valid),
      .out_ready(next_ready),
      .out_data({on_chip, next_line, next_lines})
  );

  assign request_ready = queue_ready && master_ready;
  assign lines_left = next_lines - lines_taken;
  assign last = lines_left <= 24'd2;
  assign next_ready = take && last;
  assign data_ready = next_valid && (on_chip || slots_free);
  assign take = data_valid && data_ready;

  always_ff @(posedge clock) begin
    if (reset || flush || next_ready) lines_taken <= '0;
    else if (take) lines_taken <= lines_taken + 24'd2;
  end

  // On-chip memory, which has its own register behind this one.
  logic settling;
  always_ff @(posedge clock) begin
    scratch_valid <= take && on_chip && !reset && !flush;
    scratch_pair <= lines_left != 24'd1;
    scratch_line <= next_line + lines_taken[PLACE_BITS-1:0];
    scratch_data <= data;
    settling <= scratch_valid && !reset;
  end

  // External memory: a word leaves beat by beat.
  logic beat_valid, beat_ready, master_idle;
  logic [SLOT_BITS:0] beats_left;
  logic [WORD_BEATS-1:0][127:0] beats;

  assign slots_free = beats_left == 0 || (beats_left == 1 && beat_ready);
  assign beat_valid = beats_left != 0;

  always_ff @(posedge clock) begin
    if (reset || flush) begin
      beats_left <= '0;
    end else if (take && !on_chip) begin
      beats_left <= lines_left == 24'd1 ? (SLOT_BITS + 1)'(LINE_BEATS)
          : (SLOT_BITS + 1)'(WORD_BEATS);
    end else if (beat_valid && beat_ready) begin
      beats_left <= beats_left - 1'b1;
    end
    if (take && !on_chip) beats <= data;
    else if (beat_ready) beats <= {128'd0, beats[WORD_BEATS-1:1]};
  end

  axi_writer #(
      .MAX_BURST(64),
      .REQUESTS (REQUESTS)
  ) master (
      .clock,
      .reset,
      .base,
      .flush,
      .idle(master_idle),
      .failed,
      .request_valid(request_valid && !request.address[31] && queue_ready),
      .request_ready(master_ready),
      .request_address(request.address[31:4]),
      .request_beats(28'(request.lines) * 28'(LINE_BEATS)),
      .data_valid(beat_valid),
      .data_ready(beat_ready),
      .data(beats[0]),
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

  assign idle = !next_valid && !scratch_valid && !settling && master_idle;

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) request_valid |-> request.lines != 0);
  assert property (@(posedge clock) disable iff (reset)
      request_valid && !request_ready |=> request_valid && $stable(request));
`endif

endmodule
