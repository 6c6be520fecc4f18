// GELU of a value with 10 fraction bits -> 16 fraction bits: `gelu` of
// gearshift_hls/fixed_point.py, ReLU minus a table of |x| with a straight line between its entries.
//
// Latency: 5. Initiation interval: 1. No stall.
// Resources aimed at: two reads of a table of 177 x 14 bits in LUTs, a multiplier of 15 x 6 bits.
module gelu
  import gearshift_pkg::*;
(
    input  logic               clock,
    input  logic signed [15:0] value,
    output logic signed [22:0] result
);
  localparam int unsigned LAST = $size(GELU_TABLE) - 1;

  wire [15:0] size = value < 0 ? 16'(-value) : 16'(value);

  logic [10:0] place;
  logic [4:0] part, part_late;
  logic beyond;
  logic [13:0] start, next;
  logic signed [20:0] slope;
  logic [13:0] start_late;
  logic [13:0] delta;
  // ReLU of the value, one element a stage.
  logic [14:0] positive[4];

  always_ff @(posedge clock) begin
    place <= size[15:5];
    part <= size[4:0];
    positive[0] <= value < 0 ? '0 : value[14:0];

    beyond <= place >= 11'(LAST);
    start <= place < 11'(LAST) ? GELU_TABLE[place[7:0]] : '0;
    next <= place < 11'(LAST) ? GELU_TABLE[place[7:0]+8'd1] : '0;
    part_late <= part;
    positive[1] <= positive[0];

    slope <= (21'(next) - 21'(start)) * 21'(part_late);
    start_late <= beyond ? '0 : start;
    positive[2] <= positive[1];

    // (start (32 - part) + next part + 16) / 32
    delta <= start_late + 14'((slope + 21'sd16) >>> 5);
    positive[3] <= positive[2];

    result <= $signed({2'b0, positive[3], 6'b0}) - $signed({9'b0, delta});
  end
endmodule
