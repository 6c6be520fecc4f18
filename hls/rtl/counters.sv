// The performance counters of gearshift_hls/registers.py: counted while a program runs, kept when it
// ends. What is counted between the end of one program and that of the next belongs to the next.
//
// Interface: what happens in a cycle; `program_done` closes the counts, `counts` shows them from the
// next cycle on. Latency 1.
// Resources aimed at, not measured: 1,300 FF, 900 LUT.
module counters
  import gearshift_pkg::*;
  import memory_pkg::*;
  import sequencer_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic                      clock,
    input  logic                      reset,
    input  logic                      active,        // a program is being fetched or executed
    input  logic                      running,       // a command
    input  logic [7:0]                opcode,        // its opcode
    input  activity_t                 activity,
    input  traffic_t                  traffic,
    input  logic                      program_done,
    output logic [COUNTERS-1:0][31:0] counts
);

  localparam int unsigned STEP_BITS = 8;

  // What each counter grows by.
  logic [COUNTERS-1:0][STEP_BITS-1:0] steps;
  logic [COUNTERS-1:0][31:0] sums;

  function automatic logic [STEP_BITS-1:0] beat(logic happened);
    return happened ? STEP_BITS'(BEAT_BYTES) : '0;
  endfunction

  function automatic logic [STEP_BITS-1:0] lines(logic [1:0] number);
    return STEP_BITS'(number) * STEP_BITS'(BUILD.input_lanes);
  endfunction

  always_ff @(posedge clock) begin
    steps <= '0;
    steps[COUNTER_CYCLES] <= STEP_BITS'(active);
    for (int unsigned kind = 32'(COUNTER_NORM); kind <= 32'(COUNTER_RESIZE); kind++) begin
      steps[kind] <= STEP_BITS'(running && opcode == 8'(kind));
    end
    steps[COUNTER_ARRAY_BUSY] <= STEP_BITS'(activity.busy);
    steps[COUNTER_ARRAY_WAITS_FOR_WEIGHTS] <= STEP_BITS'(activity.waits_for_weights);
    steps[COUNTER_ARRAY_WAITS_FOR_DATA] <= STEP_BITS'(activity.waits_for_data);
    steps[COUNTER_MEMORY_WAITS] <= STEP_BITS'(traffic.memory_waits);
    steps[COUNTER_MEMORY_READ] <= beat(traffic.memory_read);
    steps[COUNTER_MEMORY_WRITTEN] <= beat(traffic.memory_written);
    for (int unsigned port = 0; port < 4; port++) begin
      steps[32'(COUNTER_WEIGHTS_0_READ)+port] <= beat(traffic.weights_read[port]);
    end
    steps[COUNTER_SCRATCH_READ] <= lines(traffic.scratch_read);
    steps[COUNTER_SCRATCH_WRITTEN] <= lines(traffic.scratch_written);
    if (reset) steps <= '0;
  end

  always_ff @(posedge clock) begin
    for (int unsigned each = 0; each < COUNTERS; each++) begin
      if (program_done) begin
        counts[each] <= sums[each] + 32'(steps[each]);
        sums[each] <= '0;
      end else begin
        sums[each] <= sums[each] + 32'(steps[each]);
      end
    end
    if (reset) begin
      sums <= '0;
      counts <= '0;
    end
  end

endmodule
