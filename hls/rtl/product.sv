// The product unit: Linear, Experts, Convolution and Attention on one array.
//
//   plan -> loads -> enlarge -> loader -> input, hidden buffer, expert queue
//        -> passes -> weight_loader -> array -> accumulators -> epilogue -> results -> memory
//                     feeder ------^            softmax <-/  \- drain
//
// A plan a command (linear_plan, experts_plan, convolution_plan, attention_plan) writes the lists
// of loads and passes; everything behind it is shared and works on different passes at the same
// time.
//
// Interface: `start` with the descriptor's words, which stand still until `done` (a cycle, with
// `fault` when an expert queue is bad); reader, writer and weight ports as memory_pkg says.
// `activity` is for the performance counters.
// Throughput: a row of a tile a cycle; loads and results at the same time.
// Resources aimed at, for ZCU104_BUILD: 512 DSP48E2 in the array, 320 behind it; 32 UltraRAM in the
// input and hidden buffers, 114 block RAM in the accumulators.
module product
  import gearshift_pkg::*;
  import memory_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.input_lanes,
    localparam int unsigned LINE_BITS = 8 * LANES,
    localparam int unsigned WORD_BITS = 2 * LINE_BITS
) (
    input  logic                 clock,
    input  logic                 reset,
    input  logic                 start,
    input  logic                 asking,  // for weights of Experts: see experts_plan
    input  count_t               asked,
    input  logic [31:0]          words [32],
    output logic                 done,
    output logic                 fault,
    output activity_t            activity,

    output logic                 read_request_valid,
    input  logic                 read_request_ready,
    output request_t             read_request,
    input  logic                 read_valid,
    output logic                 read_ready,
    input  logic [WORD_BITS-1:0] read_data,

    output logic                 write_request_valid,
    input  logic                 write_request_ready,
    output request_t             write_request,
    output logic                 write_valid,
    input  logic                 write_ready,
    output logic [WORD_BITS-1:0] write_data,
    input  logic                 write_idle,

    output logic                 weights_request_valid [4],
    input  logic                 weights_request_ready [4],
    output stream_t              weights_request [4],
    input  logic                 weights_valid [4],
    output logic                 weights_ready [4],
    input  logic [127:0]         weights [4]
);
  localparam int unsigned PORTS = BUILD.weight_ports;
  localparam int unsigned SUM_BITS = 17 + $clog2(LANES);
  localparam int unsigned PLACE_BITS = $clog2(BUILD.max_tokens);
  localparam int unsigned INPUT_BITS = $clog2(BUILD.input_bytes / LANES);
  localparam int unsigned HIDDEN_BITS = $clog2(BUILD.hidden_bytes / LANES);
  // Queries of an attention that are in the array at once.
  localparam int unsigned QUERY_BITS = $clog2(BUILD.max_tokens * LANES / BUILD.max_head_dim / 2);
  localparam int unsigned RELEASE_CYCLES = 8;  // until what the feeder asked for is read

  // The drain counts what is on its way, so these queues never overflow.
  logic residual_room, write_room, final_room, scoring_room, scoring_there;

  // --- plans -----------------------------------------------------------------------------------
  logic running, all_left, plan_finished, plan_fault;
  logic load_valid, load_ready, planned_valid, planned_ready, loader_done;
  load_t load;
  planned_t planned;
  logic fill;
  count_t fill_line;
  load_t loader_load;
  count_t entries;
  logic legal, in_order, shared;
  product_plans #(.BUILD(BUILD)) plans (
      .clock, .reset, .start, .words, .load_valid, .load_ready, .load, .planned_valid,
      .planned_ready, .planned, .finished(plan_finished), .fault(plan_fault),
      .record_word(fill && loader_load.target == LOAD_RECORDS), .record_line(fill_line),
      .read_data, .entries, .load_done(loader_done), .legal, .in_order, .shared, .asking, .asked
  );

  always_ff @(posedge clock) begin
    done <= 1'b0;
    if (start) running <= 1'b1;
    else if (running && plan_finished && all_left) begin
      running <= 1'b0;
      done <= 1'b1;
      fault <= plan_fault;
    end
    if (reset) begin
      running <= 1'b0;
      done <= 1'b0;
    end
  end

  // --- loads -----------------------------------------------------------------------------------
  count_t loaded, released;  // chunks
  count_t columns;  // of the chunk that is being loaded
  logic queued_valid, queued_ready, loader_valid;
  load_t queued;
  fifo #(.WIDTH($bits(load_t)), .DEPTH(4)) load_queue (
      .clock, .reset, .in_valid(load_valid), .in_ready(load_ready), .in_data(load),
      .out_valid(queued_valid), .out_ready(queued_ready), .out_data(queued)
  );

  logic enlarge_read, enlarge_write;
  count_t enlarge_read_line, enlarge_write_line;
  logic [LINE_BITS-1:0] hidden_data, enlarge_data;
  enlarge #(.BUILD(BUILD)) enlarger (
      .clock, .reset, .restart(start),
      .tiles(words[WORD_CONVOLUTION_INPUTS][15:0] >> $clog2(LANES)),
      .width(words[WORD_CONVOLUTION_WIDTH][16:1]), .height(words[WORD_CONVOLUTION_HEIGHT][16:1]),
      .is_unsigned(words[WORD_CONVOLUTION_X_UNSIGNED][0]), .released,
      .in_valid(queued_valid), .in_ready(queued_ready), .in_load(queued),
      .out_valid(loader_valid), .out_ready(loader_done), .out_load(loader_load),
      .read_hidden(enlarge_read), .read_line(enlarge_read_line), .read_data(hidden_data),
      .write_input(enlarge_write), .write_line(enlarge_write_line), .write_data(enlarge_data)
  );

  logic load_request_valid, load_request_ready, load_word, is_residual, residual_word;
  request_t load_request;
  logic [1:0] fill_lines;
  loader #(.BUILD(BUILD)) load_words (
      .clock, .reset, .load_valid(loader_valid), .load_ready(loader_done), .load(loader_load),
      .released, .columns, .request_valid(load_request_valid), .request_ready(load_request_ready),
      .request(load_request), .word(load_word), .fill, .fill_lines, .fill_line
  );

  logic residual_push;
  request_t residual_in;
  read_router router (
      .clock, .reset, .load_request_valid, .load_request_ready, .load_request, .residual_push,
      .residual_room, .residual_request(residual_in), .read_request_valid, .read_request_ready,
      .read_request, .word(read_valid), .is_residual
  );
  assign read_ready = 1'b1;
  assign load_word = read_valid && !is_residual;
  assign residual_word = read_valid && is_residual;

  // --- buffers ---------------------------------------------------------------------------------
  logic read_input, read_hidden, read_slot, key_read;
  count_t read_line, read_row, key_line;
  logic [LINE_BITS-1:0] input_data;
  logic [1:0] input_lines, hidden_lines;
  logic [1:0][LINE_BITS-1:0] input_write, hidden_write;
  count_t input_line, hidden_line, result_line;
  logic result_write;
  logic [LINE_BITS-1:0] result_data;
  always_comb begin
    input_lines = fill && loader_load.target == LOAD_INPUT ? fill_lines : {1'b0, enlarge_write};
    input_line = enlarge_write ? enlarge_write_line : fill_line;
    input_write = enlarge_write ? {LINE_BITS'(0), enlarge_data} : read_data;
    hidden_lines = fill && loader_load.target == LOAD_HIDDEN ? fill_lines : {1'b0, result_write};
    hidden_line = result_write ? result_line : fill_line;
    hidden_write = result_write ? {LINE_BITS'(0), result_data} : read_data;
  end
  line_buffer #(.LINE_BYTES(LANES), .BYTES(BUILD.input_bytes)) input_buffer (
      .clock, .write(input_lines), .write_line(input_line[INPUT_BITS-1:0]),
      .write_data(input_write), .read(read_input || key_read),
      .read_line(key_read ? key_line[INPUT_BITS-1:0] : read_line[INPUT_BITS-1:0]),
      .read_data(input_data)
  );
  line_buffer #(.LINE_BYTES(LANES), .BYTES(BUILD.hidden_bytes)) hidden_buffer (
      .clock, .write(hidden_lines), .write_line(hidden_line[HIDDEN_BITS-1:0]),
      .write_data(hidden_write), .read(read_hidden || enlarge_read),
      .read_line(enlarge_read ? enlarge_read_line[HIDDEN_BITS-1:0] : read_line[HIDDEN_BITS-1:0]),
      .read_data(hidden_data)
  );

  slot_t token_slot, drain_slot;
  count_t token_row, drain_row;
  logic [15:0] token, drain_token, drain_token_score;
  expert_queue #(.BUILD(BUILD)) queue (
      .clock, .begins(load_valid && load_ready && load.target == LOAD_QUEUE),
      .slot(loader_load.first_line[$bits(slot_t)-1:0]), .entries,
      .tokens(words[WORD_EXPERTS_TOKENS][15:0]),
      .write(fill && loader_load.target == LOAD_QUEUE), .word(read_data), .legal, .in_order,
      .slot_a(token_slot), .row_a(token_row), .token_a(token),
      .slot_b(drain_slot), .row_b(drain_row), .token_b(drain_token), .score_b(drain_token_score)
  );

  // --- passes ----------------------------------------------------------------------------------
  pass_t weights_pass, feed_pass, drain_pass;
  logic weights_pass_valid, weights_pass_ready, feed_valid, feed_ready, drain_valid, drain_ready;
  pass_issuer issuer (
      .clock, .reset, .planned_valid, .planned_ready, .planned,
      .request_valid(weights_request_valid), .request_ready(weights_request_ready),
      .request(weights_request), .weights_valid(weights_pass_valid),
      .weights_ready(weights_pass_ready), .weights_pass, .feed_valid, .feed_ready, .feed_pass,
      .drain_valid, .drain_ready, .drain_pass
  );

  // --- rows and weights into the array ---------------------------------------------------------
  logic weights_full, take_weights, take_bank, fill_bank, end_chunk, end_hidden, end_block, fires;
  logic waits_for_weights, bank_free, bank_free_number, hidden_tile, block_ends;
  logic [1:0] bank_busy, scored_blocks;
  count_t hidden_tiles;
  logic early_valid, row_valid;
  tag_t early_tag, row_tag;
  feeder #(.BUILD(BUILD)) feed (
      .clock, .reset, .restart(start), .pass_valid(feed_valid), .pass_ready(feed_ready),
      .pass(feed_pass), .weights_full, .loaded, .columns, .bank_busy, .hidden_tiles,
      .block_scored(scored_blocks != '0), .take_weights, .take_bank, .bank(fill_bank), .end_chunk,
      .end_hidden, .end_block, .waits_for_weights, .fires, .token_slot, .token_row,
      .token, .read_input, .read_hidden, .read_line, .read_slot, .read_row,
      .row_valid(early_valid), .row_tag(early_tag)
  );

  logic [RELEASE_CYCLES-1:0] releases;
  always_ff @(posedge clock) begin
    releases <= {releases[RELEASE_CYCLES-2:0], end_chunk};
    released <= released + count_t'(releases[RELEASE_CYCLES-1]);
    loaded <= loaded + count_t'(queued_valid && queued_ready && queued.ends_chunk);
    hidden_tiles <= end_hidden ? '0 : hidden_tiles + count_t'(hidden_tile);
    scored_blocks <= scored_blocks + 2'(block_ends) - 2'(end_block);
    if (bank_free) bank_busy[bank_free_number] <= 1'b0;
    if (take_bank) bank_busy[fill_bank] <= 1'b1;
    if (reset || start) begin
      releases <= '0;
      released <= '0;
      loaded <= '0;
      hidden_tiles <= '0;
      scored_blocks <= '0;
      bank_busy <= '0;
    end
  end

  logic [LANES-1:0] load_outputs, load_inputs;
  logic load_by_output, drain_bank, parameter_bank;
  logic [PORTS-1:0][LANES-1:0][7:0] load_ports;
  logic [LANES-1:0][7:0] load_line;
  logic [LANES-1:0][31:0] bias;
  logic [LANES-1:0][15:0] multiplier;
  logic [LANES-1:0][5:0] shift;
  weight_loader #(.BUILD(BUILD)) load_weights (
      .clock, .reset, .pass_valid(weights_pass_valid), .pass_ready(weights_pass_ready),
      .pass(weights_pass), .loaded, .weights_valid, .weights_ready, .weights, .key_read, .key_line,
      .key_data(input_data), .full(weights_full), .take(take_weights), .keep(take_bank),
      .keep_bank(fill_bank), .load_outputs, .load_inputs, .load_by_output, .load_ports, .load_line,
      .drain_bank(parameter_bank), .bias, .multiplier, .shift
  );

  // Softmax weights of two blocks of keys, and what the sums so far are shifted by.
  logic [LINE_BITS+4:0] softmax_data, softmax_out;
  logic weights_out;
  logic softmax_slot, softmax_last;
  logic [LANES-1:0][7:0] softmax_weights;
  logic [4:0] softmax_fall;
  logic [PLACE_BITS:0] softmax_row;
  ram #(.WIDTH(LINE_BITS + 5), .DEPTH(2 << QUERY_BITS)) softmax_buffer (
      .clock, .write(weights_out), .write_address({softmax_slot, softmax_row[QUERY_BITS-1:0]}),
      .write_data({softmax_fall, softmax_weights}),
      .read_address({read_slot, read_row[QUERY_BITS-1:0]}), .read_data(softmax_out)
  );
  always_ff @(posedge clock) softmax_data <= softmax_out;
  assign block_ends = weights_out && softmax_last;

  logic [LINE_BITS-1:0] row_data;
  logic [4:0] row_fall;
  always_ff @(posedge clock) begin
    row_valid <= !reset && early_valid;
    row_tag <= early_tag;
    row_fall <= '0;
    case (early_tag.inputs)
      INPUTS_HIDDEN: row_data <= hidden_data;
      INPUTS_SOFTMAX: {row_fall, row_data} <= softmax_data;
      default: row_data <= early_tag.present ? input_data : '0;
    endcase
  end

  logic [LANES-1:0][SUM_BITS-1:0] products;
  array #(.BUILD(BUILD)) multiply_array (
      .clock, .inputs(row_data), .is_unsigned(row_tag.is_unsigned),
      .swap(row_valid && row_tag.swap), .load_outputs, .load_inputs, .load_by_output, .load_ports,
      .load_line, .sums(products)
  );

  // --- sums ------------------------------------------------------------------------------------
  tag_t scores_tag;
  logic scores_valid, complete, drain_read, drain_sums_valid;
  logic [LANES-1:0][31:0] scores, drain_sums;
  logic [PLACE_BITS-1:0] drain_place;
  accumulators #(.BUILD(BUILD)) accumulate (
      .clock, .reset, .row_valid, .row_tag, .row_fall, .row_sums(products), .scores_valid,
      .scores_tag, .scores, .complete,
      .drain_read, .drain_bank, .drain_place, .drain_sums
  );

  // --- results ---------------------------------------------------------------------------------
  logic settled, left, nothing_outstanding, results_empty, requests_waiting, write_push;
  logic [15:0] drain_score;
  count_t sums_row;
  request_t write_in;
  // The pass whose results are on their way: the next one begins when they have left.
  pass_t drain_kept;
  always_ff @(posedge clock) if (drain_valid && nothing_outstanding) drain_kept <= drain_pass;
  wire of_attention = drain_kept.result == RESULT_VALUES;
  drain #(.BUILD(BUILD)) drainer (
      .clock, .reset, .restart(start), .pass_valid(drain_valid), .pass_ready(drain_ready),
      .pass(drain_pass), .complete, .settled,
      .memory_quiet(results_empty && !requests_waiting && write_idle), .left,
      .nothing_outstanding, .bank_free, .bank_free_number, .end_share(shared), .read(drain_read),
      .bank(drain_bank), .place(drain_place), .row(sums_row), .sums_valid(drain_sums_valid),
      .token_slot(drain_slot), .token_row(drain_row), .token(drain_token),
      .token_score(drain_token_score), .score(drain_score),
      .residual_request_valid(residual_push), .residual_request(residual_in),
      .write_request_valid(write_push), .write_request(write_in)
  );
  fifo #(.WIDTH($bits(request_t)), .DEPTH(2 * RESULTS)) write_requests (
      .clock, .reset, .in_valid(write_push), .in_ready(write_room), .in_data(write_in),
      .out_valid(write_request_valid), .out_ready(write_request_ready), .out_data(write_request)
  );
  assign requests_waiting = write_request_valid;

  delay #(.WIDTH(1), .CYCLES(2)) banks (
      .clock, .value(drain_bank), .delayed(parameter_bank)
  );
  logic [LANES-1:0][32:0] finished;
  logic [EPILOGUE_LATENCY-1:0] finishing;
  epilogue #(.BUILD(BUILD)) finish (
      .clock, .sums(drain_sums), .bias, .multiplier, .shift,
      .shares(drain_kept.result == RESULT_SHARE), .score(drain_score), .gelu_on(drain_kept.gelu),
      .gelu_multiplier(drain_kept.gelu_multiplier), .gelu_shift(drain_kept.gelu_shift),
      .format(drain_kept.format), .zero(drain_kept.zero), .results(finished)
  );
  always_ff @(posedge clock) begin
    finishing <= reset ? '0 : {finishing[EPILOGUE_LATENCY-2:0], drain_sums_valid && !of_attention};
  end

  // --- softmax ---------------------------------------------------------------------------------
  logic final_valid, final_ready, line_valid, line_ready;
  logic [LANES-1:0][31:0] final_sums;
  logic [QUERY_BITS-1:0] final_row;
  logic [LANES-1:0][7:0] line;
  fifo #(.WIDTH(32 * LANES + QUERY_BITS), .DEPTH(16)) finals (
      .clock, .reset, .in_valid(drain_sums_valid && of_attention), .in_ready(final_room),
      .in_data({drain_sums, sums_row[QUERY_BITS-1:0]}), .out_valid(final_valid),
      .out_ready(final_ready), .out_data({final_sums, final_row})
  );
  logic [LANES-1:0] block_keys;
  always_comb begin
    for (int lane = 0; lane < int'(LANES); lane++) block_keys[lane] = 6'(lane) < scores_tag.keys;
  end
  // A row's block and slot wait here for its weights.
  fifo #(.WIDTH(2), .DEPTH(64)) scoring (
      .clock, .reset, .in_valid(scores_valid), .in_ready(scoring_room),
      .in_data({scores_tag.slot[0], scores_tag.last_row}), .out_valid(scoring_there),
      .out_ready(weights_out),
      .out_data({softmax_slot, softmax_last})
  );
  softmax #(.BUILD(BUILD)) weigh (
      .clock, .reset, .block_valid(scores_valid),
      .block_row({scores_tag.set, scores_tag.row[PLACE_BITS-1:0]}),
      .block_first(scores_tag.first_block), .block_last(scores_tag.last_block), .block_keys,
      .block_sums(scores), .block_multiplier(scores_tag.multiplier),
      .block_shift(scores_tag.shift), .weights_valid(weights_out), .weights_row(softmax_row),
      .weights(softmax_weights), .weights_fall(softmax_fall), .settled,
      .final_valid, .final_ready, .final_row({drain_kept.set, PLACE_BITS'(final_row)}),
      .final_sums, .final_multiplier(drain_kept.multiplier), .final_shift(drain_kept.shift),
      .result_valid(line_valid), .result_ready(line_ready), .result(line)
  );

  results #(.BUILD(BUILD)) leave (
      .clock, .reset, .to_hidden(drain_kept.result == RESULT_HIDDEN), .of_attention,
      .format(drain_kept.format), .rows(drain_kept.rows), .output_tiles(drain_kept.output_tiles),
      .push(finishing[EPILOGUE_LATENCY-1]), .values(finished), .line_valid, .line_ready, .line,
      .residual_push(residual_word), .residual(read_data), .left, .hidden_write(result_write),
      .hidden_line(result_line), .hidden_data(result_data), .hidden_tile, .write_valid,
      .write_ready, .write_data, .empty(results_empty)
  );

  assign all_left = !planned_valid && !load_valid && !queued_valid && !feed_valid && !drain_valid &&
                    nothing_outstanding && results_empty && !requests_waiting;
  logic unused;
  assign unused = ^{enlarge_read_line, read_line, read_row, key_line, input_line, hidden_line,
                    softmax_row, scores_tag, sums_row, drain_kept};

  always_comb begin
    activity.busy = fires;
    activity.waits_for_weights = waits_for_weights;
    activity.waits_for_data = running && !fires && !waits_for_weights;
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) residual_push |-> residual_room);
  assert property (@(posedge clock) disable iff (reset) write_push |-> write_room);
  assert property (@(posedge clock) disable iff (reset)
      drain_sums_valid && of_attention |-> final_room);
  assert property (@(posedge clock) disable iff (reset) scores_valid |-> scoring_room);
  assert property (@(posedge clock) disable iff (reset) weights_out |-> scoring_there);
`endif
endmodule
