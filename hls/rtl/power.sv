// 2^-(below / 1024), 16 fraction bits: `power` of gearshift_hls/fixed_point.py. A table of 64 lines;
// the result is 0 from 18 x 1024 on, where it rounds to nothing.
//
// Latency: 5. Initiation interval: 1. No stall.
// Resources aimed at: a table of 64 x 27 bits and a product of 10 x 4 bits in LUTs.
module power
  import gearshift_pkg::*;
#(
    parameter int unsigned BELOW_BITS = 33  // more than 16
) (
    input  logic                  clock,
    input  logic [BELOW_BITS-1:0] below,
    output logic [          16:0] result  // 2^16 at most
);
  localparam int unsigned LAST = 18;

  typedef struct packed {
    logic [16:0] start;
    logic [9:0]  drop;   // to the start of the next line
  } line_t;

  function automatic line_t [63:0] lines_of();
    line_t [63:0] lines;
    for (int place = 0; place < 64; place++) begin
      lines[place].start = POWER_TABLE[place];
      lines[place].drop  = 10'(POWER_TABLE[place] - POWER_TABLE[place+1]);
    end
    return lines;
  endfunction

  localparam line_t [63:0] LINES = lines_of();

  line_t line;
  logic [3:0] part;
  logic [4:0] whole, whole_2, whole_3;  // shifts; LAST and more give 0
  logic [16:0] start;
  logic [13:0] fallen;
  logic [16:0] between;
  logic [17:0] shifted;  // one bit below the point
  wire [BELOW_BITS-1:0] all_whole = below >> VALUE_BITS;
  // in sixteenths, and a half more so that cutting them off rounds
  logic [16:0] between_next;
  logic [3:0] unused_part;
  assign {between_next, unused_part} = {start, 4'd8} - 21'(fallen);

  always_ff @(posedge clock) begin
    line <= LINES[below[9:4]];
    part <= below[3:0];
    whole <= all_whole < BELOW_BITS'(LAST) ? all_whole[4:0] : 5'(LAST);

    start <= line.start;
    fallen <= line.drop * part;
    whole_2 <= whole;

    between <= between_next;
    whole_3 <= whole_2;

    shifted <= {between, 1'b0} >> whole_3;
    result <= shifted[17:1] + 17'(shifted[0]);
  end
endmodule
