// Fills buffers from memory, one load at a time: rows of lines that may lie apart in memory lie
// side by side in the buffer. By columns: the first lines of all rows come first, then the next
// ones, so that the array may begin with the first channel tiles.
//
// Interface: a stream of loads (any target but LOAD_ENLARGED); requests to the reader and its
// words, which are always taken; the lines of a word with the place where they go. A load is
// finished, and `load_ready`, when its last word has come; `columns` of it are there before.
// Latency: 2 and the reader's. Initiation interval: 1 word. Resources aimed at: 400 LUT.
module loader
  import gearshift_pkg::*;
  import memory_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic       clock,
    input  logic       reset,
    input  logic       load_valid,
    output logic       load_ready,
    input  load_t      load,
    input  count_t     released,  // chunks
    output count_t     columns,

    output logic       request_valid,
    input  logic       request_ready,
    output request_t   request,
    input  logic       word,      // a word of a load comes

    output logic       fill,      // it is of `load.target`
    output logic [1:0] fill_lines,
    output count_t     fill_line
);
  localparam int unsigned LANE_BITS = $clog2(BUILD.input_lanes);

  // Asked for, and come: a row's part of some columns at a time.
  count_t asked_row, row, row_line;
  logic [23:0] asked_column, column, line;
  logic [31:0] offset;
  logic running, all_asked;

  wire [23:0] most = load.address[31] ? 24'(SCRATCH_COLUMNS)
                                      : 24'(EXTERNAL_COLUMN_BYTES / BUILD.input_lanes);
  function automatic logic [23:0] part(logic by_columns, logic [23:0] most_lines,
                                       logic [23:0] lines_left);
    return by_columns && lines_left > most_lines ? most_lines : lines_left;
  endfunction
  wire [23:0] asked_left = load.lines - asked_column;
  wire [23:0] left = load.lines - column;
  wire [23:0] asked_lines = part(load.by_columns, most, asked_left);
  wire [23:0] lines = part(load.by_columns, most, left);
  wire asked_last_row = asked_row == load.rows - 1'b1;
  wire last_row = row == load.rows - 1'b1;
  wire two = lines - line > 24'd1;
  wire ends_part = lines - line <= 24'd2;
  wire ends_load = word && ends_part && last_row && lines == left;

  logic unused;
  assign unused = ^load;

  assign request_valid = running && !all_asked;
  assign request.address = load.address + offset + (32'(asked_column) << LANE_BITS);
  assign request.lines = asked_lines;
  assign fill = word;
  assign fill_lines = {word && two, word};
  assign fill_line = load.first_line + row_line + column[15:0] + line[15:0];
  assign load_ready = ends_load;
  assign columns = column[15:0];

  always_ff @(posedge clock) begin
    if (load_valid && !running) running <= $signed(released - load.released) >= 0;
    if (request_valid && request_ready) begin
      asked_row <= asked_last_row ? '0 : asked_row + 1'b1;
      offset <= asked_last_row ? '0 : offset + load.stride;
      if (asked_last_row) begin
        asked_column <= asked_column + asked_lines;
        all_asked <= asked_lines == asked_left;
      end
    end
    if (word) begin
      line <= ends_part ? '0 : line + 24'd2;
      if (ends_part) begin
        row <= last_row ? '0 : row + 1'b1;
        row_line <= last_row ? '0 : row_line + load.lines[15:0];
        if (last_row) column <= column + lines;
      end
    end
    if (reset || ends_load) begin
      running <= 1'b0;
      all_asked <= 1'b0;
      asked_row <= '0;
      asked_column <= '0;
      offset <= '0;
      row <= '0;
      row_line <= '0;
      column <= '0;
      line <= '0;
    end
  end
endmodule
