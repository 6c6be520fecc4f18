// The plans of the product unit, one a command, and what they read of memory: the records of all
// experts or heads.
//
// Interface: `start` with the descriptor's words, which stand still; loads and passes of the plan
// that runs (valid/ready); `finished` from its last pass on, with `fault` when an expert queue is
// bad. Words of a load of records come with `record_word` and the line where they go. `entries`: of
// the queue of the expert that is planned; the other ports are those of experts_plan and
// attention_plan.
// Latency: the plans'. Resources aimed at: theirs, and the records, 2,048 FF for ZCU104_BUILD.
module product_plans
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned WORD_BITS = 16 * BUILD.input_lanes
) (
    input  logic                 clock,
    input  logic                 reset,
    input  logic                 start,
    input  logic [31:0]          words [32],
    output logic                 load_valid,
    input  logic                 load_ready,
    output load_t                load,
    output logic                 planned_valid,
    input  logic                 planned_ready,
    output planned_t             planned,
    output logic                 finished,
    output logic                 fault,

    input  logic                 record_word,
    input  count_t               record_line,
    input  logic [WORD_BITS-1:0] read_data,
    output count_t               entries,
    input  logic                 load_done,
    input  logic                 legal,
    input  logic                 in_order,
    input  logic                 shared,
    input  logic                 asking,
    input  count_t               asked
);
  localparam int unsigned PLANS = 4;  // linear, experts, convolution, attention
  logic [1:0] which;
  logic [PLANS-1:0] plan_start, plan_load_valid, plan_pass_valid, plan_finished;
  load_t plan_load[PLANS];
  planned_t plan_pass[PLANS];
  logic bad_queue;

  always_comb begin
    case (words[0][7:0])
      OP_EXPERTS: which = 2'd1;
      OP_CONVOLUTION: which = 2'd2;
      OP_ATTENTION: which = 2'd3;
      default: which = 2'd0;
    endcase
    plan_start = '0;
    plan_start[which] = start;
    load = plan_load[which];
    load_valid = plan_load_valid[which];
    planned = plan_pass[which];
    planned_valid = plan_pass_valid[which];
    finished = plan_finished[which];
    fault = which == 2'd1 && bad_queue;
  end

  linear_plan #(.BUILD(BUILD)) linear (
      .clock, .reset, .start(plan_start[0]), .words,
      .load_valid(plan_load_valid[0]), .load_ready, .load(plan_load[0]),
      .pass_valid(plan_pass_valid[0]), .pass_ready(planned_ready), .planned(plan_pass[0]),
      .finished(plan_finished[0])
  );
  count_t expert, head;
  logic [31:0] count;
  logic [63:0] record;
  experts_plan #(.BUILD(BUILD)) experts (
      .clock, .reset, .start(plan_start[1]), .words,
      .load_valid(plan_load_valid[1]), .load_ready, .load(plan_load[1]),
      .pass_valid(plan_pass_valid[1]), .pass_ready(planned_ready), .planned(plan_pass[1]),
      .finished(plan_finished[1]), .fault(bad_queue),
      .expert, .count, .load_done, .legal, .in_order, .shared, .asking, .asked
  );
  convolution_plan #(.BUILD(BUILD)) convolution (
      .clock, .reset, .start(plan_start[2]), .words,
      .load_valid(plan_load_valid[2]), .load_ready, .load(plan_load[2]),
      .pass_valid(plan_pass_valid[2]), .pass_ready(planned_ready), .planned(plan_pass[2]),
      .finished(plan_finished[2])
  );
  attention_plan #(.BUILD(BUILD)) attention (
      .clock, .reset, .start(plan_start[3]), .words,
      .load_valid(plan_load_valid[3]), .load_ready, .load(plan_load[3]),
      .pass_valid(plan_pass_valid[3]), .pass_ready(planned_ready), .planned(plan_pass[3]),
      .finished(plan_finished[3]), .head, .record, .load_done
  );

  assign entries = count[15:0];

  // --- records of all experts or heads ---------------------------------------------------------
  localparam int unsigned RECORD_BITS = 32 * BUILD.max_experts > 64 * BUILD.max_heads
                                            ? 32 * BUILD.max_experts : 64 * BUILD.max_heads;
  localparam int unsigned RECORD_WORDS = (RECORD_BITS + WORD_BITS - 1) / WORD_BITS;
  logic [RECORD_WORDS*WORD_BITS-1:0] records;
  always_ff @(posedge clock) begin
    for (int each = 0; each < int'(RECORD_WORDS); each++) begin
      if (record_word && record_line == count_t'(2 * each))
        records[int'(WORD_BITS)*each+:WORD_BITS] <= read_data;
    end
    // A register more, for it takes some cycles until the expert or the head is used.
    count <= records[32*expert+:32];
    record <= records[64*head+:64];
  end
endmodule
