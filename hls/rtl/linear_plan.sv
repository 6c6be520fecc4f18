// The loads and passes of Linear: blocks of rows, a block a chunk and a pass.
//
// Half of the input buffer holds a block, so that the next one is loaded meanwhile. A block has a
// power of two of rows, the most that fit with the width rounded up to one: no divider.
//
// Interface: as of all plans. `start` with the descriptor's words, which stand still; a stream of
// loads and one of passes; `finished` from the last pass on until the next start.
// Latency: 6 cycles to the first load, 6 a block. Resources aimed at: 3 DSP48E2, 600 LUT.
module linear_plan
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
    output logic        finished
);
  localparam int unsigned LANES = BUILD.input_lanes;
  localparam int unsigned LANE_BITS = $clog2(LANES);
  localparam int unsigned HALF_LINES = BUILD.input_bytes / LANES / 2;
  localparam int unsigned ROWS_BITS = $clog2(HALF_LINES + 1) - 1;  // a block of one tile: 2^this
  localparam int unsigned MOST_BITS = $clog2(BUILD.max_tokens);

  wire count_t inputs = words[WORD_LINEAR_INPUTS][15:0];
  wire count_t channel_tiles = inputs >> LANE_BITS;
  wire count_t output_tiles = words[WORD_LINEAR_OUTPUTS][15:0] >> LANE_BITS;

  typedef enum logic [2:0] {IDLE, SIZES, COUNT, LINES, LOAD, PASS} state_t;
  state_t state;
  logic [1:0] wait_cycles;
  logic [4:0] row_bits, tile_bits;  // log2
  logic [31:0] left, x, y, residual, row_bytes;
  count_t chunk, rows;
  logic [31:0] lines;
  logic [31:0] tile_bytes, stream;  // of a port

  // The width in tiles as the next power of two.
  always_comb begin
    tile_bits = '0;
    for (int bit_number = 0; bit_number < 12; bit_number++) begin
      if (channel_tiles > count_t'(1 << bit_number)) tile_bits = 5'(bit_number + 1);
    end
  end
  wire [4:0] fit_bits = 5'(ROWS_BITS) - tile_bits;
  // Short rows of external memory are read as one.
  wire by_columns = x[31] || 32'(inputs) > EXTERNAL_COLUMN_BYTES;
  wire more = left > 32'd1 << row_bits;

  always_comb begin
    load = '0;
    load.target = LOAD_INPUT;
    load.address = x;
    load.by_columns = by_columns;
    load.stride = 32'(inputs);
    load.lines = by_columns ? 24'(channel_tiles) : lines[23:0];
    load.rows = by_columns ? rows : 16'd1;
    load.first_line = chunk[0] ? count_t'(HALF_LINES) : '0;
    load.released = chunk - 1'b1;
    load.ends_chunk = 1'b1;

    planned = '0;
    planned.pass.rows = rows;
    planned.pass.channel_tiles = channel_tiles;
    planned.pass.output_tiles = output_tiles;
    planned.pass.weights = WEIGHTS_PORTS;
    planned.pass.inputs = INPUTS_ROWS;
    planned.pass.result = RESULT_STORE;
    planned.pass.is_unsigned = words[WORD_LINEAR_X_UNSIGNED][0];
    planned.pass.chunk = chunk;
    planned.pass.by_columns = by_columns;
    planned.pass.ends_chunk = 1'b1;
    planned.pass.first_line = load.first_line;
    planned.pass.format = words[WORD_LINEAR_FORMAT][1:0];
    planned.pass.gelu = words[WORD_LINEAR_GELU][0];
    planned.pass.gelu_multiplier = words[WORD_LINEAR_GELU_MULTIPLIER][15:0];
    planned.pass.gelu_shift = words[WORD_LINEAR_GELU_SHIFT][5:0];
    planned.pass.zero = words[WORD_LINEAR_ZERO][7:0];
    planned.pass.y = y;
    planned.pass.y_row = row_bytes;
    planned.pass.residual = residual;
    planned.address = words[WORD_LINEAR_WEIGHTS];
    planned.stride = stream;
    planned.bytes = stream;
  end
  logic unused;
  assign unused = ^{tile_bytes, lines};
  assign load_valid = state == LOAD;
  assign pass_valid = state == PASS;
  assign finished = state == IDLE;

  wire [1:0] format_shift = words[WORD_LINEAR_FORMAT][1:0] == 2'(FORMAT_RESIDUAL) ? 2'd2
                            : words[WORD_LINEAR_FORMAT][1:0] == 2'(FORMAT_INT16) ? 2'd1 : 2'd0;
  always_ff @(posedge clock) begin
    tile_bytes <= (32'(inputs) + CHANNEL_BYTES) * BUILD.port_lanes;
    stream <= tile_bytes[23:0] * output_tiles;
    lines <= rows * channel_tiles;
    case (state)
      IDLE: if (start) state <= SIZES;
      SIZES: begin
        wait_cycles <= wait_cycles + 1'b1;
        left <= words[WORD_LINEAR_ROWS];
        x <= words[WORD_LINEAR_X];
        y <= words[WORD_LINEAR_Y];
        residual <= words[WORD_LINEAR_RESIDUAL];
        row_bytes <= words[WORD_LINEAR_OUTPUTS] << format_shift;
        row_bits <= fit_bits < 5'(MOST_BITS) ? fit_bits : 5'(MOST_BITS);
        chunk <= '0;
        if (wait_cycles == 2'd2) state <= COUNT;
      end
      COUNT: begin
        rows <= more ? 16'd1 << row_bits : left[15:0];
        wait_cycles <= '0;
        state <= LINES;
      end
      LINES: begin
        wait_cycles <= wait_cycles + 1'b1;
        if (wait_cycles[0]) state <= LOAD;
      end
      LOAD: if (load_ready) state <= PASS;
      default: if (pass_ready) begin
        left <= left - 32'(rows);
        x <= x + (32'(inputs) << row_bits);
        y <= y + (row_bytes << row_bits);
        residual <= residual + (row_bytes << row_bits);
        chunk <= chunk + 1'b1;
        state <= more ? COUNT : IDLE;
      end
    endcase
    if (reset || state == IDLE) wait_cycles <= '0;
    if (reset) state <= IDLE;
  end
endmodule
