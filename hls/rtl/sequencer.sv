// Executes the descriptors that `fetch` offers, one after the other.
//
// Interface: descriptors (valid/ready); the units: `words` of the descriptor, `start` of one unit for
// a cycle, `done` of that unit for a cycle with `fault` (an expert queue that is none). A command
// ends when its unit is done and all its writes are in memory. `program_done`: the program has ended
// with `result` as gearshift_hls/descriptor.py `Status` lays it out. After a failure everything that
// is under way in the memory system is flushed, and `cancel` tells `fetch`.
// The end of a program costs no cycle: while its last command runs, End is taken, and the next
// program's first command starts when a next command of the same program would.
// Latency: 1 cycle from the end of a command to the start of the next.
// Resources aimed at, not measured: 300 LUT, 1,500 FF.
module sequencer
  import gearshift_pkg::*;
  import sequencer_pkg::*;
(
    input logic clock,
    input logic reset,

    input  logic        descriptor_valid,
    output logic        descriptor_ready,
    input  descriptor_t descriptor,
    output logic        cancel,
    output logic [2:0]  program_number,

    // a unit: product, norm, route, resize
    output logic [3:0]             start,
    output logic [3:0]             selected,   // has the memory ports
    input  logic [3:0]             done,
    input  logic [3:0]             fault,
    output logic [WORDS-1:0][31:0] words,
    output arguments_t             arguments,  // of the program that runs

    input  logic write_idle,
    input  logic memory_idle,  // all of the memory system
    input  logic bus_failed,
    output logic flush,

    output logic        running,        // a command
    output logic        executing,      // anything
    output logic [23:0] number,         // of the descriptor that runs
    output logic        program_done,
    output logic [31:0] result
);

  typedef enum logic [1:0] {IDLE, RUN, DRAIN, FLUSH} state_t;
  state_t state;

  function automatic logic [3:0] unit_of(logic [7:0] opcode);
    case (opcode)
      OP_NORM: return 4'b0010;
      OP_ROUTE: return 4'b0100;
      OP_RESIZE: return 4'b1000;
      default: return 4'b0001;
    endcase
  endfunction

  // The descriptor that waits: dropped, the end of its program, or a command.
  logic dropping, stale, ends, command;
  assign stale = descriptor_valid && dropping && !descriptor.first;
  assign ends = descriptor_valid && !stale
      && (descriptor.status != STATUS_DONE || descriptor.words[0] == 32'(OP_END));
  assign command = descriptor_valid && !stale && !ends;

  // The command that runs.
  logic unit_done, unit_fault, failed, bad_bus, finished;
  assign unit_done = |(done & selected);
  assign unit_fault = |(done & selected & fault);
  assign failed = bad_bus || bus_failed;
  assign finished = ((state == RUN && unit_done && !unit_fault) || state == DRAIN) && write_idle;

  // Its program's end, already taken.
  logic ending;
  logic [31:0] ending_result, waiting_result;
  status_t fail_status;
  assign waiting_result = {descriptor.number, descriptor.status};

  logic free, take_command, take_end, take_end_early;
  assign free = state == IDLE || (finished && !failed);
  assign take_command = free && command && (state == IDLE || ending || !descriptor.first);
  assign take_end = free && ends && state == IDLE;
  assign take_end_early = (state == RUN || state == DRAIN) && !ending && ends && !descriptor.first;
  assign descriptor_ready = stale || take_command || take_end || take_end_early;

  assign running = state == RUN || state == DRAIN;
  assign executing = state != IDLE;
  assign flush = state == FLUSH;

  always_ff @(posedge clock) begin
    start <= '0;
    cancel <= 1'b0;
    program_done <= 1'b0;
    if (descriptor_valid && descriptor.first) dropping <= 1'b0;
    if (bus_failed) bad_bus <= 1'b1;

    if (take_end) begin
      program_done <= 1'b1;
      result <= waiting_result;
      number <= descriptor.number;
    end
    if (take_end_early) begin
      ending <= 1'b1;
      ending_result <= waiting_result;
    end
    if (descriptor_ready && descriptor.first && !stale) program_number <= program_number + 1'b1;

    case (state)
      RUN, DRAIN: begin
        if (state == RUN && unit_done) begin
          state <= DRAIN;
          fail_status <= STATUS_BAD_QUEUE;
          if (unit_fault) state <= FLUSH;
        end
        if (finished && failed) begin
          fail_status <= STATUS_BAD_BUS;
          state <= FLUSH;
        end
        if (finished && !failed) begin
          state <= IDLE;
          if (ending || take_end_early) begin
            program_done <= 1'b1;
            result <= ending ? ending_result : waiting_result;
            ending <= 1'b0;
          end
        end
      end
      FLUSH:
      if (memory_idle && !cancel) begin
        state <= IDLE;
        program_done <= 1'b1;
        result <= {number, failed ? STATUS_BAD_BUS : fail_status};
        ending <= 1'b0;
        bad_bus <= 1'b0;
      end
      default: ;
    endcase
    if (state != FLUSH && ((state == RUN && unit_fault) || (finished && failed))) begin
      cancel <= 1'b1;
      dropping <= !ending;
    end

    if (take_command) begin
      start <= unit_of(descriptor.words[0][7:0]);
      selected <= unit_of(descriptor.words[0][7:0]);
      words <= descriptor.words;
      number <= descriptor.number;
      if (descriptor.first) arguments <= descriptor.arguments;
      state <= RUN;
    end

    if (reset) begin
      state <= IDLE;
      start <= '0;
      selected <= '0;
      cancel <= 1'b0;
      program_done <= 1'b0;
      dropping <= 1'b0;
      ending <= 1'b0;
      bad_bus <= 1'b0;
      program_number <= '0;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) start != 0 |-> write_idle);
`endif

endmodule
