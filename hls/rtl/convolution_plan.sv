// The loads and passes of Convolution: blocks of rows of the map, a block a chunk and a pass, each
// with the row above and the row below.
//
// Half of the input buffer holds a block when three rows of the map fit there, so that the next one
// is loaded meanwhile; else all of it. A block is no larger than hides its weights and its two rows
// more: the array waits for the first one. A block's rows are counted up, a row a cycle: no divider.
//
// Interface: as of all plans (linear_plan.sv).
// Latency: 6 cycles and one a row of a block to the first load.
// Resources aimed at: 6 DSP48E2, 900 LUT.
module convolution_plan
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
  localparam int unsigned LINES = BUILD.input_bytes / LANES;
  localparam int unsigned PIXELS = BUILD.max_tokens / 4;  // of a block, if it has two rows

  wire count_t height = words[WORD_CONVOLUTION_HEIGHT][15:0];
  wire count_t width = words[WORD_CONVOLUTION_WIDTH][15:0];
  wire count_t inputs = words[WORD_CONVOLUTION_INPUTS][15:0];
  wire count_t outputs = words[WORD_CONVOLUTION_OUTPUTS][15:0];
  wire upsample = words[WORD_CONVOLUTION_UPSAMPLE][0];
  wire count_t channel_tiles = inputs >> LANE_BITS;
  wire count_t output_tiles = outputs >> LANE_BITS;

  typedef enum logic [2:0] {IDLE, SIZES, GROW, BLOCK, COUNT, LOAD, PASS} state_t;
  state_t state;
  logic [1:0] wait_cycles;
  logic [31:0] map_line, tile_bytes, stream, pixels, block_bytes, x_bytes;
  count_t block, block_pixels, first, rows, chunk;
  logic [31:0] block_lines;  // of the input buffer that a block takes
  logic [31:0] x, y;  // of row `first`

  wire halves = map_line + (map_line << 1) <= LINES / 2;
  wire [31:0] room = halves ? LINES / 2 : LINES;
  wire grows = block_lines + map_line <= room && block < height &&
               32'(block_pixels) + 32'(width) <= PIXELS;
  wire above = first != '0;
  wire below = first + rows != height;
  wire last = !below;
  wire [31:0] map_line_bytes = map_line << LANE_BITS;
  wire count_t first_line = halves && chunk[0] ? count_t'(LINES / 2) : '0;

  always_comb begin
    load = '0;
    load.target = upsample ? LOAD_ENLARGED : LOAD_INPUT;
    load.address = upsample ? words[WORD_CONVOLUTION_X] : above ? x - map_line_bytes : x;
    load.stride = upsample ? map_line_bytes >> 1 : map_line_bytes;
    load.lines = upsample ? map_line[24:1] : map_line[23:0];
    load.rows = rows + count_t'(above) + count_t'(below);
    load.first_row = first - count_t'(above);
    load.first_line = above ? first_line : first_line + map_line[15:0];
    load.released = halves ? chunk - 1'b1 : chunk;
    load.ends_chunk = 1'b1;

    planned = '0;
    planned.pass.rows = pixels[15:0];
    planned.pass.channel_tiles = channel_tiles;
    planned.pass.output_tiles = output_tiles;
    planned.pass.is_map = 1'b1;
    planned.pass.weights = WEIGHTS_PORTS;
    planned.pass.inputs = INPUTS_MAP;
    planned.pass.result = RESULT_STORE;
    planned.pass.is_unsigned = words[WORD_CONVOLUTION_X_UNSIGNED][0];
    planned.pass.chunk = chunk;
    planned.pass.ends_chunk = 1'b1;
    planned.pass.first_line = first_line;
    planned.pass.width = width;
    planned.pass.map_line = map_line[15:0];
    planned.pass.height = height;
    planned.pass.first_row = first;
    planned.pass.format = 2'(FORMAT_UINT8);
    planned.pass.y = y;
    planned.pass.y_row = 32'(outputs);
    planned.address = words[WORD_CONVOLUTION_WEIGHTS];
    planned.stride = stream;
    planned.bytes = stream;
  end
  logic unused;
  assign unused = ^{tile_bytes, pixels};
  assign load_valid = state == LOAD;
  assign pass_valid = state == PASS;
  assign finished = state == IDLE;

  always_ff @(posedge clock) begin
    map_line <= width * channel_tiles;
    tile_bytes <= ((32'(inputs) << 3) + 32'(inputs) + CHANNEL_BYTES) * BUILD.port_lanes;
    stream <= tile_bytes[23:0] * output_tiles;
    pixels <= rows * width;
    block_bytes <= block_pixels * outputs;
    x_bytes <= block * map_line_bytes[23:0];
    case (state)
      IDLE: if (start) state <= SIZES;
      SIZES: begin
        wait_cycles <= wait_cycles + 1'b1;
        block <= 16'd1;
        block_pixels <= width;
        block_lines <= map_line + (map_line << 1);
        first <= '0;
        chunk <= '0;
        x <= words[WORD_CONVOLUTION_X];
        y <= words[WORD_CONVOLUTION_Y];
        if (wait_cycles == 2'd3) state <= GROW;
      end
      GROW: begin
        if (grows) begin
          block <= block + 1'b1;
          block_pixels <= block_pixels + width;
          block_lines <= block_lines + map_line;
        end else state <= BLOCK;
      end
      BLOCK: begin
        wait_cycles <= '0;
        rows <= lower(block, height - first);
        state <= COUNT;
      end
      COUNT: begin
        wait_cycles <= wait_cycles + 1'b1;
        if (wait_cycles == 2'd1) state <= LOAD;
      end
      LOAD: if (load_ready) state <= PASS;
      default: if (pass_ready) begin
        first <= first + rows;
        chunk <= chunk + 1'b1;
        x <= x + x_bytes;
        y <= y + block_bytes;
        state <= last ? IDLE : BLOCK;
      end
    endcase
    if (reset || state == IDLE) wait_cycles <= '0;
    if (reset) state <= IDLE;
  end
endmodule
