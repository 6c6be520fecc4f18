// Beats of 16 bytes to words of two lines: those of a request are packed from its first word's lower
// end on; the last word may be short.
//
// Interface: a count of beats for every request, then the beats, valid/ready; words leave.
// Latency 1, initiation interval: one beat a cycle.
// Resources aimed at, not measured: 600 FF, 200 LUT.
module word_packer
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    parameter int unsigned REQUESTS = 16,
    localparam int unsigned WORD_BEATS = 2 * BUILD.input_lanes / BEAT_BYTES,
    localparam int unsigned SLOT_BITS = $clog2(WORD_BEATS)
) (
    input logic clock,
    input logic reset,

    input  logic        request_valid,
    output logic        request_ready,
    input  logic [27:0] request_beats,

    input  logic         beat_valid,
    output logic         beat_ready,
    input  logic [127:0] beat,

    output logic                        word_valid,
    input  logic                        word_ready,
    output logic [WORD_BEATS-1:0][127:0] word
);

  logic counted, last, completes, take;
  logic [27:0] beats, taken;
  logic [SLOT_BITS-1:0] slot;
  logic [WORD_BEATS-1:0][127:0] gathered, word_next;

  fifo #(
      .WIDTH(28),
      .DEPTH(REQUESTS)
  ) counts (
      .clock,
      .reset,
      .in_valid(request_valid),
      .in_ready(request_ready),
      .in_data(request_beats),
      .out_valid(counted),
      .out_ready(take && last),
      .out_data(beats)
  );

  assign slot = taken[SLOT_BITS-1:0];
  assign last = beats - taken == 28'd1;
  assign completes = last || slot == SLOT_BITS'(WORD_BEATS - 1);
  assign beat_ready = counted && (!completes || !word_valid || word_ready);
  assign take = beat_valid && beat_ready;

  always_comb begin
    word_next = gathered;
    word_next[slot] = beat;
  end

  always_ff @(posedge clock) begin
    if (reset) begin
      taken <= '0;
      word_valid <= 1'b0;
    end else begin
      if (take) taken <= last ? '0 : taken + 28'd1;
      if (take && completes) word_valid <= 1'b1;
      else if (word_ready) word_valid <= 1'b0;
    end
  end

  always_ff @(posedge clock) begin
    if (take) gathered <= word_next;
    if (take && completes) word <= word_next;
  end

endmodule
