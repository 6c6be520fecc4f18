// What a norm writes: groups of LANES normalised values and results packed into words, each row's
// normalised values first (if wanted), then its results.
//
// Interface: `row_fits`: a whole row more has room here; `row_starts` takes that room. Its groups
// then come whenever they are ready. `done` for a cycle when the last word was handed over.
// Latency: 3. Initiation interval: 1 word; two requests a row.
// Resources aimed at, not measured: two queues of words in LUTs, for two rows of the greatest width.
module norm_writer
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE = BUILD.input_lanes,
    localparam int unsigned WORD_BITS = 16 * LINE,
    localparam int unsigned LANES = WORD_BITS / 32
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   start,
    // of the command, stable from start to done
    input  logic [           31:0] rows,
    input  logic [           15:0] channels,
    input  logic                   with_normalised,
    input  logic [           31:0] y_address,
    input  logic [           31:0] normalised_address,
    output logic                   row_fits,
    input  logic                   row_starts,
    input  logic                   normalised_valid,
    input  logic [LANES-1:0][15:0] normalised,
    input  logic                   results_valid,
    input  logic                   results_end,         // of the row
    input  logic [ LANES-1:0][7:0] results,
    output logic                   write_request_valid,
    input  logic                   write_request_ready,
    output request_t               write_request,
    output logic                   write_valid,
    input  logic                   write_ready,
    output logic [  WORD_BITS-1:0] write_data,
    output logic                   done
);
  localparam int unsigned LINE_SHIFT = $clog2(LINE);
  localparam int unsigned Y_WORDS = BUILD.max_norm_channels / (2 * LINE);  // of the widest row
  // Two of the widest rows, or what hides the pipeline of a narrow one.
  localparam int unsigned Y_ROOM = Y_WORDS < 16 ? 32 : 2 * Y_WORDS;
  localparam int unsigned N_ROOM = 2 * Y_ROOM;
  localparam int unsigned COUNT_BITS = $clog2(N_ROOM) + 1;

  typedef logic [COUNT_BITS-1:0] count_t;

  wire [23:0] y_lines = 24'(channels >> LINE_SHIFT);
  wire [23:0] n_lines = y_lines << 1;
  wire count_t y_words = count_t'((y_lines + 1'b1) >> 1);
  wire count_t n_words = count_t'(y_lines);

  // --- words --------------------------------------------------------------------------------------
  logic [3:0][LANES-1:0][7:0] y_word;
  logic [1:0][LANES-1:0][15:0] n_word;
  logic [1:0] y_part;
  logic n_part;
  logic y_push, n_push;
  logic y_valid, n_valid, y_take, n_take;
  logic [WORD_BITS-1:0] y_data, n_data;
  logic unused_y_ready, unused_n_ready;

  always_ff @(posedge clock) begin
    y_push <= 1'b0;
    n_push <= 1'b0;
    if (results_valid) begin
      y_word[y_part] <= results;
      y_part <= results_end ? 2'd0 : y_part + 2'd1;
      y_push <= results_end || y_part == 2'd3;
    end
    if (normalised_valid) begin
      n_word[n_part] <= normalised;
      n_part <= !n_part;
      n_push <= n_part;
    end
    if (start) begin
      y_part <= '0;
      n_part <= 1'b0;
    end
    if (reset) begin
      y_push <= 1'b0;
      n_push <= 1'b0;
    end
  end

  fifo #(
      .WIDTH(WORD_BITS),
      .DEPTH(Y_ROOM)
  ) y_queue (
      .clock,
      .reset,
      .in_valid(y_push),
      .in_ready(unused_y_ready),  // y_room keeps room
      .in_data(y_word),
      .out_valid(y_valid),
      .out_ready(y_take),
      .out_data(y_data)
  );
  fifo #(
      .WIDTH(WORD_BITS),
      .DEPTH(N_ROOM)
  ) n_queue (
      .clock,
      .reset,
      .in_valid(n_push),
      .in_ready(unused_n_ready),
      .in_data(n_word),
      .out_valid(n_valid),
      .out_ready(n_take),
      .out_data(n_data)
  );

  // --- room for a whole row ---------------------------------------------------------------------
  count_t y_room, n_room;

  assign row_fits = y_room >= y_words && (!with_normalised || n_room >= n_words);

  always_ff @(posedge clock) begin
    y_room <= y_room - (row_starts ? y_words : '0) + count_t'(y_take);
    n_room <= n_room - (row_starts && with_normalised ? n_words : '0) + count_t'(n_take);
    if (start) begin
      y_room <= count_t'(Y_ROOM);
      n_room <= count_t'(N_ROOM);
    end
  end

  // --- requests -----------------------------------------------------------------------------------
  logic asks, asks_y;
  logic [31:0] next_y, next_n, rows_to_ask;

  assign write_request_valid = asks;
  assign write_request = asks_y ? {next_y, y_lines} : {next_n, n_lines};

  always_ff @(posedge clock) begin
    if (write_request_valid && write_request_ready) begin
      asks_y <= !with_normalised || !asks_y;
      if (asks_y) begin
        next_y <= next_y + 32'(channels);
        rows_to_ask <= rows_to_ask - 1'b1;
        asks <= rows_to_ask != 1;
      end else begin
        next_n <= next_n + (32'(channels) << 1);
      end
    end
    if (start) begin
      asks <= 1'b1;
      asks_y <= !with_normalised;
      next_y <= y_address;
      next_n <= normalised_address;
      rows_to_ask <= rows;
    end
    if (reset) asks <= 1'b0;
  end

  // --- data, in the order of the requests ---------------------------------------------------------
  logic gives, gives_y;
  count_t words_left;  // of this request, behind the one that is offered
  logic [31:0] rows_left;
  wire taken = write_valid && write_ready;

  assign write_valid = gives && (gives_y ? y_valid : n_valid);
  assign write_data = gives_y ? y_data : n_data;
  assign y_take = taken && gives_y;
  assign n_take = taken && !gives_y;

  always_ff @(posedge clock) begin
    done <= 1'b0;
    if (taken) begin
      words_left <= words_left - 1'b1;
      if (words_left == 0) begin
        gives_y <= !with_normalised || !gives_y;
        words_left <= (with_normalised && gives_y ? n_words : y_words) - 1'b1;
        if (gives_y) begin
          rows_left <= rows_left - 1'b1;
          if (rows_left == 1) begin
            gives <= 1'b0;
            done  <= 1'b1;
          end
        end
      end
    end
    if (start) begin
      gives <= 1'b1;
      gives_y <= !with_normalised;
      words_left <= (with_normalised ? n_words : y_words) - 1'b1;
      rows_left <= rows;
    end
    if (reset) begin
      gives <= 1'b0;
      done  <= 1'b0;
    end
  end
endmodule
