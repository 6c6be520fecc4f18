// On-chip memory of activations: any two neighbouring lines are read, and any two written, in every
// cycle.
//
// Even lines lie in one bank, odd ones in the other. Interface: a word is read at a line's number
// and comes READ_LATENCY cycles later, in order; a word, or its lower line alone, is written.
// What is written is read by requests from the next cycle on.
// Initiation interval 1 of either.
// Resources aimed at, not measured: UltraRAM for all of it, 32 for 1 MiB; a 512-bit multiplexer.
module scratch
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE_BITS = 8 * BUILD.input_lanes,
    localparam int unsigned LINES = BUILD.scratch_bytes / BUILD.input_lanes,
    localparam int unsigned PLACE_BITS = $clog2(LINES)
) (
    input  logic                      clock,
    input  logic                      reset,
    input  logic                      read_valid,
    input  logic [PLACE_BITS-1:0]     read_line,
    output logic                      data_valid,
    output logic [1:0][LINE_BITS-1:0] data,
    input  logic                      write_valid,
    input  logic                      write_pair,  // both lines, not the lower alone
    input  logic [PLACE_BITS-1:0]     write_line,
    input  logic [1:0][LINE_BITS-1:0] write_data
);

  // Latency of a read: address, memory, memory's output register, swap.
  localparam int unsigned READ_LATENCY = 4;

  logic [READ_LATENCY-1:0] reading;
  logic [READ_LATENCY-2:0] swapped;
  logic [1:0][LINE_BITS-1:0] read_bank;

  always_ff @(posedge clock) begin
    if (reset) reading <= '0;
    else reading <= {reading[READ_LATENCY-2:0], read_valid};
  end
  assign data_valid = reading[READ_LATENCY-1];

  always_ff @(posedge clock) begin
    swapped <= {swapped[READ_LATENCY-3:0], read_line[0]};
    data <= swapped[READ_LATENCY-2] ? {read_bank[0], read_bank[1]} : read_bank;
  end

  for (genvar bank = 0; bank < 2; bank++) begin : g_bank
    (* ram_style = "ultra" *) logic [LINE_BITS-1:0] lines[LINES/2];
    logic [PLACE_BITS-2:0] read_place, write_place;
    logic write_enable;
    logic [LINE_BITS-1:0] write_line_data, found;

    // The first line lies in this bank, or the second one does: then behind an odd line comes
    // the next place of the even bank.
    always_ff @(posedge clock) begin
      read_place <= read_line[PLACE_BITS-1:1] + (PLACE_BITS-1)'(bank == 0 && read_line[0]);
      write_place <= write_line[PLACE_BITS-1:1] + (PLACE_BITS-1)'(bank == 0 && write_line[0]);
      write_line_data <= write_data[write_line[0] ^ (bank == 1)];
      write_enable <= !reset && write_valid && (write_pair || write_line[0] == (bank == 1));
    end

    always_ff @(posedge clock) begin
      if (write_enable) lines[write_place] <= write_line_data;
      found <= lines[read_place];
      read_bank[bank] <= found;
    end
  end

endmodule
