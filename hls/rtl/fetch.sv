// Fetches the descriptors of programs and checks them, ahead of their execution: the next one, and
// the first one of a program that was started while another runs, wait in a queue.
//
// Interface: a start (valid/ready) with its arguments; descriptors leave (valid/ready) in order, the
// last one of a program illegal or End; `program_number` counts starts. `cancel` with the number of
// a program that failed: no more of it, if it is still the one that is fetched. Whoever takes them
// drops those that wait, up to the next `first` one. `active`: a program is being fetched;
// `cancelling`: one that failed still is.
// Latency: about 80 cycles and the memory's; initiation interval the same.
// Resources aimed at, not measured: 3,000 LUT, of which 1,000 as memory, 2,000 FF, 4 DSP.
module fetch
  import gearshift_pkg::*;
  import sequencer_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input logic clock,
    input logic reset,

    input  logic       start_valid,
    output logic       start_ready,
    input  arguments_t start,

    output logic        descriptor_valid,
    input  logic        descriptor_ready,
    output descriptor_t descriptor,
    output logic        active,
    output logic        cancelling,

    input  logic       cancel,
    input  logic [2:0] cancel_program,
    output logic [2:0] program_number,

    output logic [63:0]  axi_araddr,
    output logic [7:0]   axi_arlen,
    output logic         axi_arvalid,
    input  logic         axi_arready,
    input  logic [127:0] axi_rdata,
    input  logic         axi_rerror,
    input  logic         axi_rvalid,
    output logic         axi_rready
);

  localparam int unsigned QUEUE_BEATS = 16;
  localparam int unsigned BEATS = DESCRIPTOR_BYTES / BEAT_BYTES;

  typedef enum logic [2:0] {IDLE, LIMITS, LOCATE, REQUEST, RECEIVE, CHECK, OFFER} state_t;
  state_t state;
  descriptor_t next;
  logic [32:0] address;
  logic [2:0] beats_left;
  logic cancelled, bad_bus, is_last;

  assign start_ready = state == IDLE;
  assign active = state != IDLE || descriptor_valid;
  assign cancelling = cancelled && state != IDLE;
  assign is_last = next.status != STATUS_DONE || next.words[0] == 32'(OP_END);

  // Descriptors may lie across 4 KiB, halves of one do not.
  logic request_ready, beat_valid, failed, reader_idle;
  logic [127:0] beat;
  logic [$clog2(QUEUE_BEATS):0] unused_waiting;

  axi_reader #(
      .DEPTH(QUEUE_BEATS),
      .MAX_BURST(4),
      .REQUESTS(2)
  ) master (
      .clock,
      .reset,
      .base(next.arguments.memory),
      .flush(1'b0),
      .idle(reader_idle),
      .failed,
      .room(($clog2(QUEUE_BEATS) + 1)'(QUEUE_BEATS)),
      .waiting(unused_waiting),
      .request_valid(state == REQUEST),
      .request_ready,
      .request_address(address[31:4]),
      .request_beats(28'(BEATS)),
      .data_valid(beat_valid),
      .data_ready(state == RECEIVE),
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

  logic check_start, checked;
  status_t check_status;

  check #(
      .BUILD(BUILD)
  ) checker_unit (
      .clock,
      .reset,
      .start(check_start),
      .words(next.words),
      .memory_bytes(next.arguments.memory_bytes),
      .write_base(next.arguments.write_base),
      .done(checked),
      .status(check_status)
  );

  logic offered, queue_ready;
  assign offered = state == OFFER && !cancelled;

  fifo #(
      .WIDTH($bits(descriptor_t)),
      .DEPTH(4)
  ) descriptors (
      .clock,
      .reset,
      .in_valid(offered),
      .in_ready(queue_ready),
      .in_data(next),
      .out_valid(descriptor_valid),
      .out_ready(descriptor_ready),
      .out_data(descriptor)
  );

  always_ff @(posedge clock) begin
    check_start <= 1'b0;
    if (cancel && cancel_program == program_number) cancelled <= 1'b1;
    if (failed) bad_bus <= 1'b1;
    case (state)
      IDLE:
      if (start_valid) begin
        next.arguments <= start;
        next.first <= 1'b1;
        next.number <= '0;
        address <= {1'b0, start.first_descriptor};
        program_number <= program_number + 1'b1;
        cancelled <= 1'b0;
        bad_bus <= 1'b0;
        state <= LIMITS;
      end
      LIMITS: begin
        next.status <= STATUS_BAD_PROGRAM;
        if (next.arguments.write_base > next.arguments.memory_bytes
            || next.arguments.memory_bytes > SCRATCH)
          state <= OFFER;
        else state <= LOCATE;
      end
      LOCATE: begin
        next.status <= STATUS_BAD_PROGRAM;
        if (address[$clog2(ALIGNMENT)-1:0] != 0
            || address + 33'(DESCRIPTOR_BYTES) > {1'b0, next.arguments.write_base})
          state <= OFFER;
        else state <= REQUEST;
      end
      REQUEST: begin
        beats_left <= 3'(BEATS - 1);
        if (request_ready) state <= RECEIVE;
      end
      RECEIVE:
      if (beat_valid) begin
        next.words <= {beat, next.words[WORDS-1:WORDS/BEATS]};
        beats_left <= beats_left - 1'b1;
        if (beats_left == 0) begin
          check_start <= 1'b1;
          state <= CHECK;
        end
      end
      CHECK:
      if (checked) begin
        next.status <= bad_bus ? STATUS_BAD_BUS : check_status;
        state <= OFFER;
      end
      default:
      if (cancelled) begin
        state <= IDLE;
      end else if (queue_ready) begin
        next.first <= 1'b0;
        next.number <= next.number + 1'b1;
        address <= address + 33'(DESCRIPTOR_BYTES);
        state <= is_last ? IDLE : LOCATE;
      end
    endcase
    if (reset) begin
      check_start <= 1'b0;
      program_number <= '0;
      state <= IDLE;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) state == IDLE |-> reader_idle);
`else
  logic unused;
  assign unused = reader_idle;
`endif

endmodule
