// 1 / sqrt(total) = root x 2^(-17 - half): `reciprocal_root` of gearshift_hls/fixed_point.py.
// 1 <= total < 2^62; root is in [2^16, 2^17]. The total is moved to [2^60, 2^62) by an even shift;
// its top bits choose one of 192 lines of a table, the next 16 a place on it.
//
// Latency: 6. Initiation interval: 1. No stall.
// Resources aimed at: a DSP; a table of 192 x 28 bits in LUTs.
module reciprocal_root
  import gearshift_pkg::*;
(
    input  logic        clock,
    input  logic [61:0] total,
    output logic [17:0] root,
    output logic [ 4:0] half
);
  typedef struct packed {
    logic [17:0] start;
    logic [9:0]  drop;   // to the start of the next line
  } line_t;

  // By the eight top bits, which are 64 at least.
  function automatic line_t [255:0] lines_of();
    line_t [255:0] lines = '0;
    for (int place = 0; place < 192; place++) begin
      lines[64+place].start = ROOT_TABLE[place];
      lines[64+place].drop  = 10'(ROOT_TABLE[place] - ROOT_TABLE[place+1]);
    end
    return lines;
  endfunction

  localparam line_t [255:0] LINES = lines_of();

  // The shift, in steps of 32, 16, 8, 4 and 2 bits, one bit a step; after each step as many top
  // bits as the steps behind it may bring into the 24 that count.
  logic [4:0] up_0, up_1, up_2;
  logic [53:0] by_32;
  logic [37:0] by_16, moved_0;
  logic [29:0] by_8;
  logic [25:0] by_4, moved_1;
  logic [23:0] moved_2;
  wire is_32 = total[61:30] == '0;
  wire is_16 = by_32[53:38] == '0;
  wire is_8 = moved_0[37:30] == '0;
  wire is_4 = by_8[29:26] == '0;
  wire is_2 = moved_1[25:24] == '0;
  assign by_32 = is_32 ? {total[29:0], 24'd0} : total[61:8];
  assign by_16 = is_16 ? by_32[37:0] : by_32[53:16];
  assign by_8  = is_8 ? moved_0[29:0] : moved_0[37:8];
  assign by_4  = is_4 ? by_8[25:0] : by_8[29:4];

  line_t line;
  logic [15:0] part;
  logic [17:0] start;
  logic signed [27:0] fallen;
  logic [33:0] between;
  logic [2:0][4:0] half_next;

  always_ff @(posedge clock) begin
    up_0 <= {is_32, is_16, 3'b0};
    moved_0 <= by_16;

    up_1 <= up_0 | {2'b0, is_8, is_4, 1'b0};
    moved_1 <= by_4;

    up_2 <= up_1 | {4'b0, is_2};
    moved_2 <= is_2 ? moved_1[23:0] : moved_1[25:2];

    line <= LINES[moved_2[23:16]];
    part <= moved_2[15:0];
    half_next[0] <= 5'd30 - up_2;

    start <= line.start;
    fallen <= $signed({1'b0, line.drop}) * $signed({1'b0, part});
    half_next[1] <= half_next[0];

    between <= {start, 16'h8000} - 34'(fallen);
    half_next[2] <= half_next[1];
  end

  assign root = between[33:16];
  assign half = half_next[2];
  wire unused = &{1'b0, between[15:0]};
endmodule
