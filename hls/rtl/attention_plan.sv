// The loads and passes of Attention: head by head, as many queries at once as half a bank of sums
// has room for in all output tiles, and for every block of keys one pass for the scores and one for
// the values. The scores of the next block come before the values of this one, so that the array
// multiplies while the softmax is on its way.
//
// A head's keys and values are loaded once; two heads are held when they fit, and the queries of
// two sets always, so that the next ones are loaded meanwhile.
//
// Interface: as of all plans (linear_plan.sv); the record of head `head` is there after a load of
// records, `load_done`: a load is complete.
// Latency: 6 cycles to the first load. Resources aimed at: 4 DSP48E2, 1,000 LUT.
module attention_plan
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

    output count_t      head,
    input  logic [63:0] record,
    input  logic        load_done
);
  localparam int unsigned LANES = BUILD.input_lanes;
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned LINES = BUILD.input_bytes / LANES;
  localparam int unsigned QUERIES = BUILD.max_tokens * LANES / BUILD.max_head_dim / 2;
  localparam int unsigned QUERY_LINES = QUERIES * BUILD.max_head_dim / LANES;

  wire count_t tokens = words[WORD_ATTENTION_TOKENS][15:0];
  wire count_t heads = words[WORD_ATTENTION_HEADS][15:0];
  wire count_t head_dim = words[WORD_ATTENTION_HEAD_DIM][15:0];
  wire count_t tiles = head_dim >> LANE_BITS;
  wire count_t blocks = (tokens + count_t'(LANES - 1)) >> LANE_BITS;

  typedef enum logic [3:0] {
    IDLE, SIZES, RECORDS, WAIT, SET, KEYS, VALUES, QUERIES_LOAD, SCORES, WEIGHTED
  } state_t;
  state_t state;
  logic [1:0] wait_cycles;
  logic records_there;
  logic [31:0] row_bytes, part_bytes, query_bytes, query_y_bytes;
  logic [31:0] x, y;  // of the set's first query in the head
  logic [31:0] head_x, head_y;
  logic [31:0] head_lines;  // of its keys, as many of its values
  count_t chunk, head_chunk, before_chunk, first, block, score_block;
  count_t score_line, value_line;  // of the blocks' first keys and values

  wire doubles = head_lines << 2 <= LINES;
  wire count_t key_line = doubles && head[0] ? count_t'(LINES / 2) : '0;
  wire count_t queries = lower(count_t'(QUERIES), tokens - first);
  wire last_set = first + queries == tokens;
  wire last_head = head == heads - 1'b1;
  wire of_scores = state == SCORES;
  wire count_t this_block = of_scores ? score_block : block;
  wire count_t keys_left = tokens - (score_block << LANE_BITS);

  always_comb begin
    load = '0;
    load.target = LOAD_INPUT;
    load.stride = row_bytes;
    load.lines = 24'(tiles);
    load.rows = tokens;
    // The chunks of the head before the one before, or of all heads before.
    load.released = doubles ? before_chunk : head_chunk;
    case (state)
      RECORDS: begin
        load.target = LOAD_RECORDS;
        load.address = words[WORD_ATTENTION_PARAMETERS];
        load.lines = 24'((32'(heads) * HEAD_BYTES + LANES - 1) >> LANE_BITS);
        load.rows = 16'd1;
        load.released = '0;
      end
      KEYS: begin
        load.address = head_x + part_bytes;
        load.first_line = key_line;
      end
      VALUES: begin
        load.address = head_x + (part_bytes << 1);
        load.first_line = key_line + head_lines[15:0];
      end
      default: begin
        load.target = LOAD_HIDDEN;
        load.address = x;
        load.rows = queries;
        load.first_line = chunk[0] ? count_t'(QUERY_LINES) : '0;
        load.released = chunk - 1'b1;
        load.ends_chunk = 1'b1;
      end
    endcase

    planned = '0;
    planned.pass.rows = queries;
    planned.pass.chunk = chunk;
    planned.pass.key_stride = tiles;
    planned.pass.first_block = this_block == '0;
    planned.pass.last_block = this_block == blocks - 1'b1;
    planned.pass.set = chunk[0];
    planned.pass.slot = slot_t'(this_block[0]);
    planned.pass.keys = 6'(lower(keys_left, count_t'(LANES)));
    planned.pass.y = y;
    planned.pass.y_row = part_bytes;
    planned.pass.format = 2'(FORMAT_INT8);
    if (of_scores) begin
      planned.pass.channel_tiles = tiles;
      planned.pass.output_tiles = 16'd1;
      planned.pass.weights = WEIGHTS_KEYS;
      planned.pass.inputs = INPUTS_HIDDEN;
      planned.pass.result = RESULT_SCORES;
      planned.pass.first_line = chunk[0] ? count_t'(QUERY_LINES) : '0;
      planned.pass.key_line = score_line;
      planned.pass.multiplier = record[8*HEAD_RECORD_SCORE_MULTIPLIER+:16];
      planned.pass.shift = record[8*HEAD_RECORD_SCORE_SHIFT+:6];
    end else begin
      planned.pass.channel_tiles = 16'd1;
      planned.pass.output_tiles = tiles;
      planned.pass.weights = WEIGHTS_VALUES;
      planned.pass.inputs = INPUTS_SOFTMAX;
      planned.pass.is_unsigned = 1'b1;
      planned.pass.result = RESULT_VALUES;
      planned.pass.key_line = value_line;
      planned.pass.ends_chunk = planned.pass.last_block;
      planned.pass.multiplier = record[8*HEAD_RECORD_OUTPUT_MULTIPLIER+:16];
      planned.pass.shift = record[8*HEAD_RECORD_OUTPUT_SHIFT+:6];
    end
  end
  assign load_valid = state == RECORDS || state == KEYS || state == VALUES || state == QUERIES_LOAD;
  assign pass_valid = state == SCORES || state == WEIGHTED;
  assign finished = state == IDLE;

  logic unused;
  assign unused = ^record;
  wire count_t block_lines = tiles << LANE_BITS;
  always_ff @(posedge clock) begin
    part_bytes <= heads * head_dim;
    row_bytes <= part_bytes + (part_bytes << 1);
    head_lines <= tokens * tiles;
    query_bytes <= row_bytes * QUERIES;
    query_y_bytes <= part_bytes * QUERIES;
    case (state)
      IDLE: if (start) begin
        state <= SIZES;
        records_there <= 1'b0;
      end
      SIZES: begin
        wait_cycles <= wait_cycles + 1'b1;
        head <= '0;
        chunk <= '0;
        head_chunk <= '0;
        before_chunk <= '0;
        head_x <= words[WORD_ATTENTION_X];
        head_y <= words[WORD_ATTENTION_Y];
        if (wait_cycles == 2'd3) state <= RECORDS;
      end
      RECORDS: if (load_ready) state <= WAIT;
      WAIT: begin
        first <= '0;
        x <= head_x;
        y <= head_y;
        if (load_done || records_there) state <= KEYS;
        if (load_done) records_there <= 1'b1;
      end
      KEYS: if (load_ready) state <= VALUES;
      VALUES: if (load_ready) state <= QUERIES_LOAD;
      QUERIES_LOAD: if (load_ready) state <= SET;
      SET: begin
        block <= '0;
        score_block <= '0;
        score_line <= key_line;
        value_line <= key_line + head_lines[15:0];
        state <= SCORES;
      end
      SCORES: if (pass_ready) begin
        score_block <= score_block + 1'b1;
        score_line <= score_line + block_lines;
        // The first two blocks' scores, then in turn.
        state <= score_block == '0 && blocks != 16'd1 ? SCORES : WEIGHTED;
      end
      default: if (pass_ready) begin
        block <= block + 1'b1;
        value_line <= value_line + block_lines;
        if (block != blocks - 1'b1) state <= score_block == blocks ? WEIGHTED : SCORES;
        else begin
          chunk <= chunk + 1'b1;
          first <= first + queries;
          x <= x + query_bytes;
          y <= y + query_y_bytes;
          state <= QUERIES_LOAD;
          if (last_set) begin
            head <= head + 1'b1;
            before_chunk <= head_chunk;
            head_chunk <= chunk + 1'b1;
            head_x <= head_x + 32'(head_dim);
            head_y <= head_y + 32'(head_dim);
            state <= last_head ? IDLE : WAIT;
          end
        end
      end
    endcase
    if (reset || state == IDLE) wait_cycles <= '0;
    if (reset) state <= IDLE;
  end
endmodule
