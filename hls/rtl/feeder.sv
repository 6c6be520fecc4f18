// Walks through the tiles and rows of the passes: what enters the array, and when.
//
// A tile begins when its weights are there, its rows are in their buffer, and the bank of its sums
// is free; then a row enters in every cycle, and the next tile's first row in the cycle after the
// last.
//
// Interface: a stream of passes; the address of a row in its buffer, and 2 cycles later, with its
// data, the row's tag. The row enters the array a cycle after that.
// Latency: FEED_LATENCY - 1 cycles from the decision to the tag. Initiation interval: 1 row; a tile
// takes LEAST_TILE_CYCLES or more.
// Resources aimed at: 1 DSP48E2, 1,500 LUT.
module feeder
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        restart,  // a command begins
    input  logic        pass_valid,
    output logic        pass_ready,
    input  pass_t       pass,

    // what a tile waits for
    input  logic        weights_full,
    input  count_t      loaded,         // chunks
    input  count_t      columns,        // of the next one
    input  logic [1:0]  bank_busy,
    input  count_t      hidden_tiles,   // of the hidden values that the pass reads
    input  logic        block_scored,   // a block of softmax weights is complete

    output logic        take_weights,
    output logic        take_bank,      // the bank is being filled from now on
    output logic        bank,
    output logic        end_chunk,      // the last row that reads a chunk
    output logic        end_hidden,     // the last row that reads an expert's hidden values
    output logic        end_block,      // the last row that reads a block's softmax weights
    output logic        waits_for_weights,
    output logic        fires,

    // the entry of the expert queue
    output slot_t       token_slot,
    output count_t      token_row,
    input  logic [15:0] token,          // a cycle later

    output logic        read_input,     // of the buffers, at `read_line`
    output logic        read_hidden,
    output count_t      read_line,
    output logic        read_slot,      // of the softmax weights
    output count_t      read_row,

    output logic        row_valid,
    output tag_t        row_tag
);
  localparam int unsigned LATENCY = FEED_LATENCY - 1;
  count_t output_tile, channel, row, line, column, step, tap_offset;
  logic [1:0] tap_x, tap_y;
  logic next_bank;
  logic [3:0] cool;  // cycles until the next tile may begin

  wire last_row = row == pass.rows - 1'b1;
  wire last_channel = channel == pass.channel_tiles - 1'b1;
  wire last_tap = !pass.is_map || (tap_x == 2'd2 && tap_y == 2'd2);
  wire last_output = output_tile == pass.output_tiles - 1'b1;
  wire first_input = channel == '0 && tap_x == '0 && tap_y == '0;
  wire final_input = last_channel && last_tap;
  wire of_scores = pass.result == RESULT_SCORES;
  wire of_values = pass.result == RESULT_VALUES;

  // A set of queries has a bank, whose upper half is for the sums of scores; others take turns.
  assign bank = of_scores || of_values ? pass.set : next_bank;
  wire opens_bank = row == '0 && first_input && !of_values && (!of_scores || pass.first_block);

  wire chunk_there = $signed(loaded - pass.chunk) > 0 ||
                     (pass.by_columns && loaded == pass.chunk && columns > channel);
  wire hidden_there = pass.result != RESULT_SHARE || hidden_tiles > channel;
  wire block_there = pass.inputs != INPUTS_SOFTMAX || block_scored;
  wire bank_there = !opens_bank || !bank_busy[bank];
  wire data_there = chunk_there && hidden_there && block_there && bank_there;
  wire begins = weights_full && data_there && cool == '0;
  assign fires = pass_valid && (row != '0 || begins);
  assign waits_for_weights = pass_valid && !fires && data_there && !weights_full;

  assign take_weights = fires && row == '0;
  assign take_bank = fires && opens_bank;
  assign pass_ready = fires && last_row && final_input && last_output;
  assign end_chunk = pass_ready && pass.ends_chunk;
  assign end_hidden = pass_ready && pass.result == RESULT_SHARE;
  assign end_block = pass_ready && pass.inputs == INPUTS_SOFTMAX;

  always_ff @(posedge clock) begin
    if (cool != '0) cool <= cool - 1'b1;
    if (take_weights) cool <= 4'(LEAST_TILE_CYCLES - 1);
    if (fires) begin
      row <= last_row ? '0 : row + 1'b1;
      step <= last_row ? '0 : step + pass.channel_tiles;
      column <= column + 1'b1;
      if (column == pass.width - 1'b1) begin
        column <= '0;
        line <= line + 1'b1;
      end
      if (last_row) begin
        column <= '0;
        line <= '0;
        channel <= last_channel ? '0 : channel + 1'b1;
        if (last_channel && pass.is_map) begin
          tap_x <= tap_x == 2'd2 ? '0 : tap_x + 1'b1;
          tap_offset <= tap_offset + pass.channel_tiles;
          if (tap_x == 2'd2) begin
            tap_y <= last_tap ? '0 : tap_y + 1'b1;
            tap_offset <= last_tap ? '0 : tap_offset + pass.map_line - (pass.channel_tiles << 1);
          end
        end
        if (final_input) begin
          output_tile <= last_output ? '0 : output_tile + 1'b1;
          next_bank <= !next_bank;
        end
      end
    end
    if (reset || restart) begin
      cool <= '0;
      output_tile <= '0;
      channel <= '0;
      row <= '0;
      line <= '0;
      column <= '0;
      step <= '0;
      tap_offset <= '0;
      tap_x <= '0;
      tap_y <= '0;
      next_bank <= 1'b0;
    end
  end

  count_t value_place;
  always_ff @(posedge clock) begin
    if (reset || restart || pass_ready) value_place <= '0;
    else if (fires && of_values) value_place <= value_place + 1'b1;
  end

  tag_t tag;
  always_comb begin
    tag = '0;
    tag.swap = row == '0;
    tag.is_unsigned = pass.is_unsigned;
    tag.inputs = pass.inputs;
    tag.present = 1'b1;
    tag.fresh = of_values ? pass.first_block : first_input;
    tag.final_tile = final_input;
    tag.completes = last_row && final_input &&
                    (of_values ? pass.last_block && last_output : !of_scores);
    tag.bank = bank;
    // The values' output tiles lie behind each other.
    tag.place = of_values ? value_place : of_scores ? row | count_t'(BUILD.max_tokens / 2) : row;
    tag.row = row;
    tag.last_row = last_row;
    tag.scores = of_scores;
    tag.slot = pass.slot;
    tag.set = pass.set;
    tag.first_block = pass.first_block;
    tag.last_block = pass.last_block;
    tag.keys = pass.keys;
    tag.multiplier = pass.multiplier;
    tag.shift = pass.shift;
  end

  // Stages 1 to 4: the line of the row. Element n: n cycles after the decision.
  logic [LATENCY:1] valid;
  tag_t tags[LATENCY+1];
  count_t base_1, offset_1, step_1, tiles_1, base_2, step_2, tiles_2, line_3, step_3;
  count_t map_line_1, map_column_1, height_1, width_1;
  logic [31:0] product_3;
  logic unused;
  assign unused = ^{pass, product_3};
  assign tags[0] = tag;
  always_ff @(posedge clock) begin
    valid <= reset ? '0 : {valid[LATENCY-1:1], fires};
    for (int stage = 1; stage <= int'(LATENCY); stage++) tags[stage] <= tags[stage-1];

    base_1 <= pass.first_line + channel;
    offset_1 <= pass.is_map ? tap_offset - pass.channel_tiles : '0;
    step_1 <= step;
    tiles_1 <= pass.channel_tiles;
    map_line_1 <= pass.first_row + line + count_t'(tap_y);
    map_column_1 <= column + count_t'(tap_x);
    height_1 <= pass.height;
    width_1 <= pass.width;

    base_2 <= base_1 + offset_1;
    step_2 <= step_1;
    tiles_2 <= tiles_1;
    if (tags[1].inputs == INPUTS_MAP) begin
      tags[2].present <= map_line_1 != '0 && map_line_1 <= height_1 && map_column_1 != '0 &&
                         map_column_1 <= width_1;
    end

    line_3 <= base_2;
    step_3 <= step_2;
    product_3 <= token * tiles_2;

    read_line <= line_3 + (tags[3].inputs == INPUTS_QUEUE ? product_3[15:0] : step_3);
    read_input <= !reset && valid[3] && tags[3].inputs != INPUTS_HIDDEN &&
                  tags[3].inputs != INPUTS_SOFTMAX;
    read_hidden <= !reset && valid[3] && tags[3].inputs == INPUTS_HIDDEN;
  end
  slot_t slot_1;
  always_ff @(posedge clock) slot_1 <= pass.slot;
  assign token_slot = slot_1;
  assign token_row = tags[1].row;
  assign read_slot = tags[4].slot[0];
  assign read_row = tags[4].row;
  assign row_valid = valid[LATENCY];
  assign row_tag = tags[LATENCY];
endmodule
