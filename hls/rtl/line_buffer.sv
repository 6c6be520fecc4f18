// A buffer of lines, written one or two lines at a time at any line, read a line at a time.
//
// Even lines lie in one bank, odd ones in the other, so that two lines that follow each other are
// written in one cycle.
//
// Latency: a read 2 cycles. Initiation interval: 1.
// Resources aimed at: UltraRAM, BYTES in all.
module line_buffer #(
    parameter int unsigned LINE_BYTES = 32,
    parameter int unsigned BYTES = 524288,
    localparam int unsigned LINES = BYTES / LINE_BYTES,
    localparam int unsigned PLACE_BITS = $clog2(LINES),
    localparam int unsigned LINE_BITS = 8 * LINE_BYTES
) (
    input  logic                       clock,
    input  logic [1:0]                 write,  // the lower line, the upper line
    input  logic [PLACE_BITS-1:0]      write_line,  // where the lower line goes
    input  logic [1:0][LINE_BITS-1:0]  write_data,
    input  logic                       read,
    input  logic [PLACE_BITS-1:0]      read_line,
    output logic [LINE_BITS-1:0]       read_data
);
  (* ram_style = "ultra" *) logic [LINE_BITS-1:0] even_lines[LINES/2];
  (* ram_style = "ultra" *) logic [LINE_BITS-1:0] odd_lines[LINES/2];

  // When the lower line is odd, the upper one is the next even one.
  wire starts_odd = write_line[0];
  wire [PLACE_BITS-2:0] even_place = write_line[PLACE_BITS-1:1] + (PLACE_BITS - 1)'(starts_odd);
  wire [PLACE_BITS-2:0] odd_place = write_line[PLACE_BITS-1:1];

  logic [LINE_BITS-1:0] even_data, odd_data;
  logic read_odd;

  always_ff @(posedge clock) begin
    if (write[starts_odd]) even_lines[even_place] <= write_data[starts_odd];
    if (read && !read_line[0]) even_data <= even_lines[read_line[PLACE_BITS-1:1]];
  end

  always_ff @(posedge clock) begin
    if (write[!starts_odd]) odd_lines[odd_place] <= write_data[!starts_odd];
    if (read && read_line[0]) odd_data <= odd_lines[read_line[PLACE_BITS-1:1]];
  end

  always_ff @(posedge clock) begin
    if (read) read_odd <= read_line[0];
    read_data <= read_odd ? odd_data : even_data;
  end
endmodule
