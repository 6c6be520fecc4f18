// The weights of the next tile, into the array's shadow registers while the tile before multiplies.
//
// Interface: a stream of passes; `full` says that a tile waits, `take` (a cycle) that it becomes
// the active one, and with `keep` that the parameters of its output channels are wanted for bank
// `keep_bank`, where `drain_bank` finds them. Weights come from the ports, in step, a beat of each
// a cycle; keys and values from the input buffer, a line a cycle, once their chunk is there.
//
// Latency: FEED_LATENCY from a beat to the array. A tile takes as many cycles as a port has beats
// of it: 16 for ZCU104_BUILD, 4 more when it is the first of an output tile; 32 for keys and
// values.
// Resources aimed at: 3 sets of channel parameters (5,400 FF for ZCU104_BUILD), 1,500 LUT.
module weight_loader
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.input_lanes,
    localparam int unsigned PORTS = BUILD.weight_ports
) (
    input  logic                               clock,
    input  logic                               reset,
    input  logic                               pass_valid,
    output logic                               pass_ready,
    input  pass_t                              pass,
    input  count_t                             loaded,  // chunks

    input  logic                               weights_valid [4],
    output logic                               weights_ready [4],
    input  logic [127:0]                       weights [4],

    output logic                               key_read,  // from the input buffer
    output count_t                             key_line,
    input  logic [LANES-1:0][7:0]              key_data,  // 2 cycles later

    output logic                               full,
    input  logic                               take,
    input  logic                               keep,
    input  logic                               keep_bank,

    output logic [LANES-1:0]                   load_outputs,
    output logic [LANES-1:0]                   load_inputs,
    output logic                               load_by_output,
    output logic [PORTS-1:0][LANES-1:0][7:0]   load_ports,
    output logic [LANES-1:0][7:0]              load_line,

    input  logic                               drain_bank,
    output logic [LANES-1:0][31:0]             bias,
    output logic [LANES-1:0][15:0]             multiplier,
    output logic [LANES-1:0][5:0]              shift
);
  localparam int unsigned PORT_LANES = BUILD.port_lanes;
  localparam int unsigned PARTS = LANES / BEAT_BYTES;  // beats of an output lane
  localparam int unsigned TILE_BEATS = PORT_LANES * PARTS;
  localparam int unsigned CHANNELS = BEAT_BYTES / CHANNEL_BYTES;  // in a beat of parameters
  localparam int unsigned PARAMETER_BEATS = PORT_LANES / CHANNELS;
  localparam int unsigned KEY_LATENCY = 3;

  logic unused;
  assign unused = ^pass;

  // Where in the pass.
  count_t output_tile, channel;
  logic [3:0] tap;
  logic parameters;  // the beats of them come first
  logic [5:0] beat;
  count_t line;  // of the key or value

  wire from_ports = pass.weights == WEIGHTS_PORTS;
  wire of_values = pass.weights == WEIGHTS_VALUES;
  wire all_valid = weights_valid[0] && weights_valid[1] && weights_valid[2] && weights_valid[3];
  wire chunk_there = $signed(loaded - pass.chunk) > 0;
  wire accept = pass_valid && !full && (from_ports ? all_valid : chunk_there);

  wire last_beat = beat == (from_ports ? 6'(TILE_BEATS - 1) : 6'(LANES - 1));
  wire last_channel = channel == pass.channel_tiles - 1'b1;
  wire last_tap = tap == (pass.is_map ? 4'd8 : 4'd0);
  wire last_output = output_tile == pass.output_tiles - 1'b1;
  wire reads_parameters = from_ports && parameters;
  wire ends_tile = accept && last_beat && !reads_parameters;

  assign pass_ready = ends_tile && last_channel && last_tap && last_output;
  always_comb begin
    for (int port = 0; port < 4; port++) weights_ready[port] = accept && from_ports;
  end

  always_ff @(posedge clock) begin
    if (take) full <= 1'b0;
    if (ends_tile) full <= 1'b1;
    if (accept) begin
      beat <= last_beat ? '0 : beat + 1'b1;
      if (reads_parameters && beat == 6'(PARAMETER_BEATS - 1)) begin
        parameters <= 1'b0;
        beat <= '0;
      end
      if (ends_tile) begin
        channel <= last_channel ? '0 : channel + 1'b1;
        if (last_channel) tap <= last_tap ? '0 : tap + 1'b1;
        if (last_channel && last_tap) begin
          output_tile <= last_output ? '0 : output_tile + 1'b1;
          parameters <= 1'b1;
        end
      end
      line <= last_beat ? '0 : line + pass.key_stride;
    end
    if (reset) begin
      full <= 1'b0;
      output_tile <= '0;
      channel <= '0;
      tap <= '0;
      parameters <= 1'b1;
      beat <= '0;
      line <= '0;
    end
  end

  // Keys and values out of the input buffer.
  always_ff @(posedge clock) begin
    key_read <= !reset && accept && !from_ports;
    key_line <= pass.key_line + line + (of_values ? output_tile : channel);
  end

  // Which lanes a beat is for.
  logic [LANES-1:0] outputs, inputs;
  always_comb begin
    outputs = '0;
    inputs = '1;
    if (accept && !reads_parameters) begin
      if (from_ports) begin
        for (int lane = 0; lane < int'(LANES); lane++) begin
          outputs[lane] = 6'(lane % int'(PORT_LANES)) == beat / 6'(PARTS);
          inputs[lane] = 6'(lane / int'(BEAT_BYTES)) == beat % 6'(PARTS);
        end
      end else if (of_values) begin
        outputs = '1;
        inputs = LANES'(1) << beat;
      end else begin
        outputs = LANES'(1) << beat;
      end
    end
  end
  delay #(.WIDTH(2 * LANES + 1), .CYCLES(FEED_LATENCY)) lanes (
      .clock, .value({outputs, inputs, of_values}),
      .delayed({load_outputs, load_inputs, load_by_output})
  );

  // What they are loaded with: of a port its beat, or every key's line.
  logic [PORTS-1:0][127:0] late_beats;
  logic late_from_ports;
  for (genvar port = 0; port < PORTS; port++) begin : g_port
    delay #(.WIDTH(128), .CYCLES(FEED_LATENCY)) beats (
        .clock, .value(weights[port]), .delayed(late_beats[port])
    );
    assign load_ports[port] = late_from_ports ? {PARTS{late_beats[port]}} : load_line;
  end
  delay #(.WIDTH(1), .CYCLES(FEED_LATENCY)) source (
      .clock, .value(from_ports), .delayed(late_from_ports)
  );
  delay #(.WIDTH(8 * LANES), .CYCLES(FEED_LATENCY - KEY_LATENCY)) keys (
      .clock, .value(key_data), .delayed(load_line)
  );

  // Parameters of output channels: as they come, then those of the two banks.
  logic [LANES-1:0][53:0] shadow;
  logic [1:0][LANES-1:0][53:0] kept;
  always_ff @(posedge clock) begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      automatic int place = lane % int'(PORT_LANES);
      if (accept && reads_parameters && beat == 6'(place / int'(CHANNELS)))
        shadow[lane] <= weights[lane/int'(PORT_LANES)][64*(place%int'(CHANNELS))+:54];
      if (take && keep) kept[keep_bank][lane] <= shadow[lane];
    end
  end
  always_comb begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      bias[lane] = kept[drain_bank][lane][8*CHANNEL_RECORD_BIAS+:32];
      multiplier[lane] = kept[drain_bank][lane][8*CHANNEL_RECORD_MULTIPLIER+:16];
      shift[lane] = kept[drain_bank][lane][8*CHANNEL_RECORD_SHIFT+:6];
    end
  end
endmodule
