// A memory with a port to write and a port to read. What is read in the cycle of its writing is the
// old value.
//
// Latency: a read 1 cycle. Resources aimed at: block RAM.
module ram #(
    parameter  int unsigned WIDTH = 32,
    parameter  int unsigned DEPTH = 512,
    localparam int unsigned ADDRESS_BITS = $clog2(DEPTH)
) (
    input  logic                    clock,
    input  logic                    write,
    input  logic [ADDRESS_BITS-1:0] write_address,
    input  logic [       WIDTH-1:0] write_data,
    input  logic [ADDRESS_BITS-1:0] read_address,
    output logic [       WIDTH-1:0] read_data
);
  logic [WIDTH-1:0] memory[DEPTH];

  always_ff @(posedge clock) begin
    if (write) memory[write_address] <= write_data;
    read_data <= memory[read_address];
  end
endmodule
