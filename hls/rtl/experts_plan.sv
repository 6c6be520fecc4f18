// The loads and passes of Experts: all tokens once, then two passes an expert whose queue is not
// empty, the lowest first. The weights of an empty queue are not asked for.
//
// QUEUES queues are held: while an expert multiplies, the next ones' queues are loaded and checked,
// and their weights are on their way. A queue that is too long or names a token that does not exist
// ends the plan with `fault`.
//
// Interface: as of all plans (linear_plan.sv); `count` of expert `expert` is there after a load of
// records, `legal` and `in_order` after a load of a queue; `load_done`: a load is complete;
// `shared`: an expert's queue is done with. Weights of the experts before `asked` were asked for
// earlier, once `asking` is 0 (experts_ahead.sv).
// Latency: 6 cycles to the first load, 8 an expert and the time of its loads. Resources aimed at: 4
// DSP48E2, 900 LUT.
module experts_plan
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,
    input  logic [31:0] words[32],
    output logic        load_valid,
    input  logic        load_ready,
    output load_t       load,
    output logic        pass_valid,
    input  logic        pass_ready,
    output planned_t    planned,
    output logic        finished,
    output logic        fault,

    output count_t      expert,
    input  logic [31:0] count,
    input  logic        load_done,
    input  logic        legal,
    input  logic        in_order,
    input  logic        shared,
    input  logic        asking,
    input  count_t      asked
);
  localparam int unsigned LANES = BUILD.input_lanes;
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned LINE_ENTRIES = LANES / ENTRY_RECORD_BYTES;

  wire count_t tokens = words[WORD_EXPERTS_TOKENS][15:0];
  wire count_t channels = words[WORD_EXPERTS_CHANNELS][15:0];
  wire count_t hidden = words[WORD_EXPERTS_HIDDEN][15:0];
  wire count_t expert_count = words[WORD_EXPERTS_EXPERTS][15:0];
  wire count_t channel_tiles = channels >> LANE_BITS;
  wire count_t hidden_tiles = hidden >> LANE_BITS;

  typedef enum logic [3:0] {
    IDLE, SIZES, RECORDS, TOKENS, WAIT, EXPERT, QUEUE, QUEUE_WAIT, CHECK, FIRST, SECOND, NEXT, LOOK
  } state_t;
  state_t state;
  logic [1:0] wait_cycles;
  logic [31:0] lines, first_stream, second_stream, expert_bytes, weights, queue, queue_bytes;
  logic [1:0] loads;  // under way
  logic [$clog2(QUEUES):0] held;  // queues in use
  slot_t slot;
  logic tokens_asked;

  // Short rows of external memory are read as one.
  wire by_columns = words[WORD_EXPERTS_X][31] || 32'(channels) > EXTERNAL_COLUMN_BYTES;
  wire there = expert < asked;  // its weights are on their way
  wire too_long = count > 32'(tokens);

  // Lines that hold so many records of 4 bytes.
  function automatic logic [23:0] record_lines(logic [31:0] records);
    return 24'((records + LINE_ENTRIES - 1) / LINE_ENTRIES);
  endfunction
  function automatic logic [31:0] aligned(logic [31:0] bytes);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  endfunction

  always_comb begin
    load = '0;
    load.rows = 16'd1;
    case (state)
      RECORDS: begin
        load.target = LOAD_RECORDS;
        load.address = words[WORD_EXPERTS_QUEUES];
        load.lines = record_lines(32'(expert_count));
      end
      TOKENS: begin
        load.target = LOAD_INPUT;
        load.address = words[WORD_EXPERTS_X];
        load.by_columns = by_columns;
        load.stride = 32'(channels);
        load.lines = by_columns ? 24'(channel_tiles) : lines[23:0];
        load.rows = by_columns ? tokens : 16'd1;
        load.ends_chunk = 1'b1;
      end
      default: begin
        load.target = LOAD_QUEUE;
        load.address = queue;
        load.lines = record_lines(count);
        load.first_line = count_t'(slot);
      end
    endcase

    planned = '0;
    planned.pass.rows = count[15:0];
    planned.pass.weights = WEIGHTS_PORTS;
    planned.pass.slot = slot;
    planned.pass.in_order = in_order;
    planned.pass.gelu_multiplier = words[WORD_EXPERTS_GELU_MULTIPLIER][15:0];
    planned.pass.gelu_shift = words[WORD_EXPERTS_GELU_SHIFT][5:0];
    planned.pass.y = words[WORD_EXPERTS_Y];
    planned.pass.residual = words[WORD_EXPERTS_Y];
    planned.pass.y_row = 32'(channels) << 2;
    planned.stride = expert_bytes;
    if (state == SECOND) begin
      planned.pass.channel_tiles = hidden_tiles;
      planned.pass.output_tiles = channel_tiles;
      planned.pass.inputs = INPUTS_HIDDEN;
      planned.pass.is_unsigned = 1'b1;
      planned.pass.result = RESULT_SHARE;
      planned.pass.format = 2'(FORMAT_RESIDUAL);
      planned.address = weights + first_stream;
      planned.bytes = there ? '0 : second_stream;
    end else begin
      planned.pass.channel_tiles = channel_tiles;
      planned.pass.output_tiles = hidden_tiles;
      planned.pass.inputs = INPUTS_QUEUE;
      planned.pass.by_columns = by_columns;
      planned.pass.result = RESULT_HIDDEN;
      planned.pass.format = 2'(FORMAT_UINT8);
      planned.pass.gelu = 1'b1;
      planned.pass.zero = words[WORD_EXPERTS_ZERO][7:0];
      planned.address = weights;
      planned.bytes = there ? '0 : first_stream;
    end
  end
  logic unused;
  assign unused = ^lines;
  assign load_valid = state == RECORDS || state == TOKENS || state == QUEUE;
  assign pass_valid = state == FIRST || state == SECOND;
  assign finished = state == IDLE;

  expert_sizes #(.BUILD(BUILD)) sizes (
      .clock, .channels, .hidden, .first_stream, .second_stream, .expert_bytes
  );

  always_ff @(posedge clock) begin
    lines <= tokens * channel_tiles;
    queue_bytes <= aligned(32'(tokens) << 2);

    loads <= loads + 2'(load_valid && load_ready) - 2'(load_done);
    held <= held + ($bits(held))'(state == FIRST && pass_ready) - ($bits(held))'(shared);
    case (state)
      IDLE: if (start) begin
        fault <= 1'b0;
        expert <= '0;
        tokens_asked <= 1'b0;
        slot <= '0;
        weights <= words[WORD_EXPERTS_WEIGHTS];
        queue <= words[WORD_EXPERTS_QUEUES] + aligned(32'(expert_count) << 2);
        state <= SIZES;
      end
      SIZES: begin
        wait_cycles <= wait_cycles + 1'b1;
        if (wait_cycles == 2'd3) state <= RECORDS;
      end
      RECORDS: if (load_ready) state <= WAIT;
      WAIT: if (loads == '0) state <= EXPERT;
      EXPERT: begin
        if (expert == expert_count) state <= IDLE;
        else if (asking) state <= EXPERT;
        else if (count == '0) state <= NEXT;
        else if (too_long) begin
          fault <= 1'b1;
          state <= IDLE;
        end else if (held != ($bits(held))'(QUEUES)) state <= QUEUE;
      end
      QUEUE: if (load_ready) state <= QUEUE_WAIT;
      QUEUE_WAIT: if (loads == '0) state <= tokens_asked ? CHECK : TOKENS;
      // Behind the first queue, so that its passes begin with the first tokens.
      TOKENS: if (load_ready) begin
        tokens_asked <= 1'b1;
        state <= CHECK;
      end
      CHECK: begin
        fault <= !legal;
        state <= legal ? FIRST : IDLE;
      end
      FIRST: if (pass_ready) state <= SECOND;
      SECOND: if (pass_ready) begin
        slot <= slot + 1'b1;
        state <= NEXT;
      end
      NEXT: begin
        expert <= expert + 1'b1;
        weights <= weights + expert_bytes * BUILD.weight_ports;
        queue <= queue + queue_bytes;
        state <= LOOK;
      end
      default: state <= EXPERT;  // its count is looked up
    endcase
    if (reset || state == IDLE) begin
      wait_cycles <= '0;
      loads <= '0;
      held <= '0;
    end
    if (reset) begin
      fault <= 1'b0;
      state <= IDLE;
    end
  end
endmodule
