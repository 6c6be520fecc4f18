// An int16 map enlarged bilinearly to twice its height and width, as gearshift_hls/golden.py
// `_resize` and `enlarge` define it.
//
// The map is done in strips of a few columns, as many as a row buffer holds. Down a strip, every row
// is read once: even rows into one buffer, odd rows into the other. Between two rows lie two rows of
// the result, between two pixels of both two pixels of it: 9, 3, 3 and 1 sixteenths of the four.
// Neighbouring strips share a column.
//
// Interface: `start` for a cycle, the descriptor's words stable until `done` (a cycle, everything
// handed to the writer); reader and writer as in memory_pkg: a request a row of a strip.
// Latency: about 20 beside the memory's. Initiation interval: 2 cycles a word of the result, 1 a word
// of the map.
// Resources aimed at, not measured: two buffers of 16 BRAM36 together; no DSP.
module resize
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE = BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 16 * LINE
) (
    input  logic        clock,
    input  logic        reset,
    input  logic        start,
    input  logic [31:0] words[WORDS],
    output logic        done,
    output logic        fault,

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
    input  logic                 write_idle
);
  localparam int unsigned ITEMS = WORD_BITS / 16;  // of a word
  localparam int unsigned LINE_SHIFT = $clog2(LINE);
  localparam int unsigned PIXEL_BITS = $clog2(BUILD.max_channels / LINE) + 1;  // words of a pixel
  localparam int unsigned BUFFER = 4 * BUILD.max_channels / LINE;  // words of a row in a strip
  localparam int unsigned PLACE_BITS = $clog2(BUFFER);
  localparam int unsigned SIDE_BITS = $clog2(BUILD.max_side) + 1;
  localparam int unsigned ROW_BITS = SIDE_BITS + 1;  // of a row or column of the result

  assign fault = 1'b0;  // no data is illegal
  wire unused_idle = write_idle;  // nothing that was written is read again

  wire [SIDE_BITS-1:0] height = words[WORD_RESIZE_HEIGHT][SIDE_BITS-1:0];
  wire [SIDE_BITS-1:0] width = words[WORD_RESIZE_WIDTH][SIDE_BITS-1:0];
  wire [31:0] pixel_bytes = words[WORD_RESIZE_CHANNELS] << 1;
  wire [PIXEL_BITS-1:0] pixel_words = PIXEL_BITS'(words[WORD_RESIZE_CHANNELS] >> LINE_SHIFT);
  wire [PIXEL_BITS-1:0] last_word = pixel_words - 1'b1;
  wire [ROW_BITS-1:0] last_row = {height, 1'b0} - 1'b1;

  // Columns of a strip: as many as the buffer holds pixels of 2^n words.
  logic [$clog2(PIXEL_BITS+1)-1:0] pixel_shift;
  wire [SIDE_BITS:0] most_columns = (SIDE_BITS + 1)'(BUFFER >> pixel_shift);
  always_comb begin
    pixel_shift = '0;
    for (int unsigned power = 0; power < PIXEL_BITS; power++) begin
      if (pixel_words > PIXEL_BITS'(1 << power)) pixel_shift = ($clog2(PIXEL_BITS + 1))'(power + 1);
    end
  end

  // --- strips and their rows ----------------------------------------------------------------------
  typedef enum logic [2:0] {
    IDLE,
    STRIP,   // how wide the next one is
    SIZES,   // its rows in words
    BEGIN,   // its requests
    ROW,     // of the result: the row of the map that it needs may be missing
    LOAD,
    EMIT,
    FINISH   // what waits goes to the writer
  } state_t;

  state_t state;
  logic [SIDE_BITS-1:0] columns_left, columns;  // from the strip's first column on; in the strip
  logic first_strip, last_strip;
  logic [31:0] offset;  // of the strip's first pixel in a row of the map
  logic [31:0] pitch;  // bytes of a row of the map
  logic [ROW_BITS-1:0] result_columns;
  logic [PLACE_BITS:0] load_words;
  logic [PLACE_BITS+1:0] emit_words;
  logic [SIDE_BITS-1:0] loaded;  // rows of the map
  logic [ROW_BITS-1:0] row;  // of the result
  logic missing, load_ends, row_ends, nothing_waits;
  logic asks_read, asks_write;  // rows of the strip

  assign missing = loaded != height && ROW_BITS'(loaded) <= (row + 1'b1) >> 1;

  always_ff @(posedge clock) begin
    done  <= 1'b0;
    pitch <= 32'(width) * pixel_bytes;
    case (state)
      STRIP: begin
        last_strip <= (SIDE_BITS + 1)'(columns_left) <= most_columns;
        columns <= (SIDE_BITS + 1)'(columns_left) <= most_columns ? columns_left
            : most_columns[SIDE_BITS-1:0];
        state <= SIZES;
      end
      SIZES: begin
        load_words <= (PLACE_BITS + 1)'(columns) * (PLACE_BITS + 1)'(pixel_words);
        result_columns <= {columns, 1'b0} - ROW_BITS'(2) + ROW_BITS'(first_strip)
            + ROW_BITS'(last_strip);
        state <= BEGIN;
      end
      BEGIN: begin
        emit_words <= (PLACE_BITS + 2)'(result_columns) * (PLACE_BITS + 2)'(pixel_words);
        loaded <= '0;
        row <= '0;
        state <= ROW;
      end
      ROW: state <= missing ? LOAD : EMIT;
      LOAD:
      if (load_ends) begin
        loaded <= loaded + 1'b1;
        state  <= ROW;
      end
      EMIT:
      if (row_ends) begin
        row   <= row + 1'b1;
        state <= ROW;
        if (row == last_row) begin
          state <= last_strip ? FINISH : STRIP;
          columns_left <= columns_left - columns + 1'b1;
          offset <= offset + (pixel_bytes << (PLACE_BITS[4:0] - 5'(pixel_shift))) - pixel_bytes;
          first_strip <= 1'b0;
        end
      end
      FINISH:
      if (nothing_waits) begin
        state <= IDLE;
        done  <= 1'b1;
      end
      default: ;
    endcase
    if (start) begin
      state <= STRIP;
      columns_left <= width;
      first_strip <= 1'b1;
      offset <= '0;
    end
    if (reset) begin
      state <= IDLE;
      done  <= 1'b0;
    end
  end

  // --- requests, ahead of the rows ------------------------------------------------------------------
  logic [SIDE_BITS-1:0] rows_to_read;
  logic [ROW_BITS-1:0] rows_to_write;
  logic [31:0] next_x, next_y;

  assign read_request_valid = asks_read;
  assign read_request = {next_x, 24'(load_words) << 1};
  assign write_request_valid = asks_write;
  assign write_request = {next_y, 24'(emit_words) << 1};

  always_ff @(posedge clock) begin
    if (read_request_valid && read_request_ready) begin
      next_x <= next_x + pitch;
      rows_to_read <= rows_to_read - 1'b1;
      asks_read <= rows_to_read != 1;
    end
    if (write_request_valid && write_request_ready) begin
      next_y <= next_y + (pitch << 1);
      rows_to_write <= rows_to_write - 1'b1;
      asks_write <= rows_to_write != 0;
    end
    // Those of the strip before are out: its rows are longer than what waits in `results`.
    if (state == BEGIN) begin
      asks_read <= 1'b1;
      asks_write <= 1'b1;
      rows_to_read <= height;
      rows_to_write <= last_row;
      next_x <= words[WORD_RESIZE_X] + offset;
      next_y <= words[WORD_RESIZE_Y] + (offset << 1) + (first_strip ? '0 : pixel_bytes);
    end
    if (start || reset) begin
      asks_read <= 1'b0;
      asks_write <= 1'b0;
    end
  end

  // --- row buffers ------------------------------------------------------------------------------
  logic [PLACE_BITS-1:0] load_place, emit_place;
  logic [1:0][ITEMS-1:0][15:0] found;  // in the buffer of even rows, of odd ones
  wire load = state == LOAD && read_valid;

  assign read_ready = state == LOAD;
  assign load_ends = load && (PLACE_BITS + 1)'(load_place) == load_words - 1'b1;

  always_ff @(posedge clock) load_place <= state == LOAD ? load_place + PLACE_BITS'(load) : '0;

  for (genvar parity = 0; parity < 2; parity++) begin : g_buffer
    ram #(
        .WIDTH(WORD_BITS),
        .DEPTH(BUFFER)
    ) rows (
        .clock,
        .write(load && loaded[0] == parity),
        .write_address(load_place),
        .write_data(read_data),
        .read_address(emit_place),
        .read_data(found[parity])
    );
  end

  // --- a row of the result: of every word first the near column, then the far one ---------------------
  localparam int unsigned RESULTS = 16;  // words that may wait for the writer
  localparam int unsigned COUNT_BITS = $clog2(RESULTS) + 1;

  logic [ROW_BITS-1:0] column;  // in the strip
  logic odd;  // the column's number in the result
  logic [PIXEL_BITS-1:0] word;
  logic reads_far;
  logic [PLACE_BITS-1:0] near_place, far_place;  // of pixels
  logic [COUNT_BITS-1:0] outstanding;
  logic issue, last_column;
  wire leaves = write_valid && write_ready;

  assign last_column = column == result_columns - 1'b1;
  assign issue = state == EMIT && (reads_far || outstanding != COUNT_BITS'(RESULTS));
  assign row_ends = issue && reads_far && word == last_word && last_column;
  assign nothing_waits = outstanding == 0;

  always_comb begin
    far_place = odd ? near_place + PLACE_BITS'(pixel_words) : near_place - PLACE_BITS'(pixel_words);
    if (first_strip && column == 0) far_place = near_place;  // beyond the left border
    if (last_strip && last_column) far_place = near_place;  // beyond the right one
  end
  assign emit_place = (reads_far ? far_place : near_place) + PLACE_BITS'(word);

  always_ff @(posedge clock) begin
    outstanding <= outstanding + COUNT_BITS'(issue && !reads_far) - COUNT_BITS'(leaves);
    if (issue) begin
      reads_far <= !reads_far;
      if (reads_far) word <= word == last_word ? '0 : word + 1'b1;
      if (reads_far && word == last_word) begin
        column <= column + 1'b1;
        odd <= !odd;
        if (odd) near_place <= near_place + PLACE_BITS'(pixel_words);
      end
    end
    if (state == ROW) begin
      reads_far <= 1'b0;
      word <= '0;
      column <= '0;
      odd <= !first_strip;
      near_place <= '0;
    end
    if (start || reset) outstanding <= '0;
  end

  // --- sixteenths ---------------------------------------------------------------------------------
  typedef struct packed {
    logic valid;
    logic reads_far;
    logic near_row;  // parity
    logic far_row;
  } step_t;

  step_t [3:0] step;
  logic [ITEMS-1:0][15:0] result;
  logic border, unused_ready;

  assign border = row == 0 || row == last_row;  // the far row is the near one
  assign step[0] = {issue, reads_far, row[1], row[1] ^ !border};

  always_ff @(posedge clock) begin
    step[3:1] <= step[2:0];
    if (reset) for (int age = 1; age < 4; age++) step[age].valid <= 1'b0;
  end

  for (genvar item = 0; item < int'(ITEMS); item++) begin : g_item
    logic signed [17:0] vertical, near_column;
    logic signed [19:0] sum;
    wire signed [15:0] near_value = found[step[1].near_row][item];
    wire signed [15:0] far_value = found[step[1].far_row][item];
    always_ff @(posedge clock) begin
      vertical <= 18'(near_value) + (18'(near_value) <<< 1) + 18'(far_value);
      near_column <= vertical;
      sum <= 20'(near_column) + (20'(near_column) <<< 1) + 20'(vertical) + 20'sd8;
    end
    assign result[item] = sum[19:4];
    wire unused = &{1'b0, sum[3:0]};
  end

  fifo #(
      .WIDTH(WORD_BITS),
      .DEPTH(RESULTS)
  ) results (
      .clock,
      .reset,
      .in_valid(step[3].valid && step[3].reads_far),
      .in_ready(unused_ready),  // `outstanding` keeps room
      .in_data(result),
      .out_valid(write_valid),
      .out_ready(write_ready),
      .out_data(write_data)
  );
endmodule
