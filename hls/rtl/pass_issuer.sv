// Sends a planned pass on its way: asks the ports for its weights, one after the other, then gives
// the pass to the weight loader, the feeder and, when its sums are kept to the end, the drain,
// which each walk through their own queue of passes.
//
// The weights are asked for as early as the plan is ahead: their streams never change.
// Latency: 5 cycles a pass, 1 without streams. Resources aimed at: 200 LUT and 3 queues of PASSES.
module pass_issuer
  import memory_pkg::*;
  import product_pkg::*;
(
    input  logic     clock,
    input  logic     reset,
    input  logic     planned_valid,
    output logic     planned_ready,
    input  planned_t planned,
    output logic     request_valid[4],
    input  logic     request_ready[4],
    output stream_t  request[4],

    output logic     weights_valid,
    input  logic     weights_ready,
    output pass_t    weights_pass,
    output logic     feed_valid,
    input  logic     feed_ready,
    output pass_t    feed_pass,
    output logic     drain_valid,
    input  logic     drain_ready,
    output pass_t    drain_pass
);
  logic [2:0] port;
  logic [31:0] offset;
  logic weights_room, feed_room, drain_room;

  wire pass_t pass = planned.pass;
  wire streams = pass.weights == WEIGHTS_PORTS && planned.bytes != '0;
  wire asks = planned_valid && streams && !port[2];
  wire drains = pass.result == RESULT_STORE || pass.result == RESULT_SHARE ||
                pass.result == RESULT_HIDDEN || (pass.result == RESULT_VALUES && pass.last_block);
  assign planned_ready =
      planned_valid && (!streams || port[2]) && weights_room && feed_room && drain_room;

  always_comb begin
    for (int each = 0; each < 4; each++) begin
      request_valid[each] = asks && port[1:0] == 2'(each);
      request[each] = '{address: planned.address + offset, bytes: planned.bytes};
    end
  end

  always_ff @(posedge clock) begin
    if (asks && request_ready[port[1:0]]) begin
      port <= port + 1'b1;
      offset <= offset + planned.stride;
    end
    if (reset || planned_ready) begin
      port <= '0;
      offset <= '0;
    end
  end

  fifo #(.WIDTH($bits(pass_t)), .DEPTH(PASSES)) weights_passes (
      .clock, .reset, .in_valid(planned_ready), .in_ready(weights_room), .in_data(pass),
      .out_valid(weights_valid), .out_ready(weights_ready), .out_data(weights_pass)
  );
  fifo #(.WIDTH($bits(pass_t)), .DEPTH(PASSES)) feed_passes (
      .clock, .reset, .in_valid(planned_ready), .in_ready(feed_room), .in_data(pass),
      .out_valid(feed_valid), .out_ready(feed_ready), .out_data(feed_pass)
  );
  fifo #(.WIDTH($bits(pass_t)), .DEPTH(PASSES)) drain_passes (
      .clock, .reset, .in_valid(planned_ready && drains), .in_ready(drain_room), .in_data(pass),
      .out_valid(drain_valid), .out_ready(drain_ready), .out_data(drain_pass)
  );
endmodule
