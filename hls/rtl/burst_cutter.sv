// Cuts requests for beats of 16 bytes into bursts: each inside an aligned block of MAX_BURST beats,
// so that none crosses 4 KiB.
//
// Interface: requests queue (valid/ready); a burst is offered with its place and its length in
// beats until `take`. `flush` drops everything. `idle`: no request waits and no burst is offered.
// Latency 2, initiation interval 1. Resources aimed at, not measured: 120 LUT.
module burst_cutter #(
    parameter int unsigned MAX_BURST = 64,  // a power of two, at most 256
    parameter int unsigned REQUESTS = 8,
    localparam int unsigned BURST_BITS = $clog2(MAX_BURST)
) (
    input  logic              clock,
    input  logic              reset,
    input  logic              flush,
    output logic              idle,
    input  logic              request_valid,
    output logic              request_ready,
    input  logic [31:4]       request_address,
    input  logic [27:0]       request_beats,
    output logic              burst_valid,
    input  logic              take,
    output logic [31:4]       address,
    output logic [BURST_BITS:0] burst
);

  // The request that is cut into bursts.
  logic next_valid, next_ready;
  logic [31:4] next_address;
  logic [27:0] next_beats, beats_left;

  fifo #(
      .WIDTH(56),
      .DEPTH(REQUESTS)
  ) requests (
      .clock,
      .reset(reset || flush),
      .in_valid(request_valid),
      .in_ready(request_ready),
      .in_data({request_address, request_beats}),
      .out_valid(next_valid),
      .out_ready(next_ready),
      .out_data({next_address, next_beats})
  );

  // The next burst: up to the end of its block or of the request.
  logic [BURST_BITS:0] in_block;

  assign in_block = (BURST_BITS + 1)'(MAX_BURST) - {1'b0, address[4+:BURST_BITS]};
  assign burst = beats_left < 28'(in_block) ? beats_left[BURST_BITS:0] : in_block;
  assign burst_valid = !flush && beats_left != 0;
  assign next_ready = beats_left == 0 || (take && beats_left == 28'(burst));
  assign idle = !next_valid && beats_left == 0;

  always_ff @(posedge clock) begin
    if (reset || flush) begin
      beats_left <= '0;
    end else if (next_ready) begin
      address <= next_address;
      beats_left <= next_valid ? next_beats : '0;
    end else if (take) begin
      address <= address + 28'(burst);
      beats_left <= beats_left - 28'(burst);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clock) disable iff (reset) take |-> burst_valid);
  assert property (@(posedge clock) disable iff (reset) request_valid |-> request_beats != 0);
`endif

endmodule
