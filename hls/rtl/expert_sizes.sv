// Bytes that a port reads of an expert: the streams of its first and its second product, which
// follow each other.
//
// Interface: sizes of legal descriptors. Latency: 3. Resources aimed at: 2 DSP48E2, 100 LUT.
module expert_sizes
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic        clock,
    input  count_t      channels,
    input  count_t      hidden,
    output logic [31:0] first_stream,
    output logic [31:0] second_stream,
    output logic [31:0] expert_bytes
);
  localparam int unsigned LANE_BITS = $clog2(BUILD.input_lanes);

  logic [31:0] first_tile_bytes, second_tile_bytes;
  logic unused;
  assign unused = ^{first_tile_bytes, second_tile_bytes};

  always_ff @(posedge clock) begin
    first_tile_bytes <= (32'(channels) + CHANNEL_BYTES) * BUILD.port_lanes;
    second_tile_bytes <= (32'(hidden) + CHANNEL_BYTES) * BUILD.port_lanes;
    first_stream <= first_tile_bytes[23:0] * 32'(hidden >> LANE_BITS);
    second_stream <= second_tile_bytes[23:0] * 32'(channels >> LANE_BITS);
    expert_bytes <= first_stream + second_stream;
  end
endmodule
