// The multiply array: output_lanes x input_lanes weights that stay while rows stream through, a row
// a cycle. One array for all products of the accelerator.
//
// A row: `inputs`, a line of int8 or uint8, and `swap` with the first row of a tile: the weights
// that were loaded before take the place of those in use. Weights are loaded at any time for the
// input lanes `load_inputs` of the output lanes `load_outputs`: from the bytes of the output lane's
// port, by input lane; or, with `load_by_output`, from a line, by output lane.
//
// Latency: 6 + log2(input_lanes / 4). Initiation interval: 1. No stall.
// Resources aimed at: a DSP48E2 for two multipliers (512 for the 1,024 of ZCU104_BUILD) and 9,000
// LUT for adders and the choice between the two orders of weights.
module array
  import gearshift_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.input_lanes,
    localparam int unsigned PORTS = BUILD.weight_ports,
    localparam int unsigned SUM_BITS = 17 + $clog2(LANES)
) (
    input  logic                                 clock,
    input  logic [LANES-1:0][7:0]                inputs,
    input  logic                                 is_unsigned,
    input  logic                                 swap,
    input  logic [LANES-1:0]                     load_outputs,
    input  logic [LANES-1:0]                     load_inputs,
    input  logic                                 load_by_output,
    input  logic [PORTS-1:0][LANES-1:0][7:0]     load_ports,
    input  logic [LANES-1:0][7:0]                load_line,
    output logic [LANES-1:0][SUM_BITS-1:0]       sums
);
  // Place p of every cascade of four works p cycles later.
  logic [LANES-1:0][8:0] signed_inputs, late_inputs;
  logic [LANES-1:0] late_load_inputs;
  logic [PORTS-1:0][LANES-1:0][7:0] late_ports;
  logic [3:0] late_swap;
  logic [3:0] late_by_output;
  logic [3:0][LANES-1:0] late_outputs;
  logic [3:0][LANES-1:0][7:0] late_line;

  always_comb begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      signed_inputs[lane] = {!is_unsigned && inputs[lane][7], inputs[lane]};
    end
  end

  assign late_swap[0] = swap;
  assign late_by_output[0] = load_by_output;
  assign late_outputs[0] = load_outputs;
  assign late_line[0] = load_line;
  always_ff @(posedge clock) begin
    late_swap[3:1] <= late_swap[2:0];
    late_by_output[3:1] <= late_by_output[2:0];
    late_outputs[3:1] <= late_outputs[2:0];
    late_line[3:1] <= late_line[2:0];
  end

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    localparam int unsigned PLACE = lane % 4;
    if (PLACE == 0) begin : g_now
      assign late_inputs[lane] = signed_inputs[lane];
      assign late_load_inputs[lane] = load_inputs[lane];
      for (genvar port = 0; port < PORTS; port++) begin : g_port
        assign late_ports[port][lane] = load_ports[port][lane];
      end
    end else begin : g_late
      delay #(.WIDTH(10), .CYCLES(PLACE)) row (
          .clock, .value({load_inputs[lane], signed_inputs[lane]}),
          .delayed({late_load_inputs[lane], late_inputs[lane]})
      );
      for (genvar port = 0; port < PORTS; port++) begin : g_port
        delay #(.WIDTH(8), .CYCLES(PLACE)) weight (
            .clock, .value(load_ports[port][lane]), .delayed(late_ports[port][lane])
        );
      end
    end
  end

  for (genvar pair = 0; pair < LANES / 2; pair++) begin : g_pair
    localparam int unsigned PORT = 2 * pair / BUILD.port_lanes;
    logic [1:0][LANES-1:0] load;
    logic [1:0][LANES-1:0][7:0] weights;
    always_comb begin
      for (int member = 0; member < 2; member++) begin
        for (int lane = 0; lane < int'(LANES); lane++) begin
          load[member][lane] = late_load_inputs[lane] && late_outputs[lane%4][2*pair+member];
          weights[member][lane] = late_by_output[lane%4] ? late_line[lane%4][2*pair+member]
                                                         : late_ports[PORT][lane];
        end
      end
    end
    dot_product_pair #(.INPUTS(LANES)) products (
        .clock, .inputs(late_inputs), .swap(late_swap), .load, .weights,
        .sums(sums[2*pair+1:2*pair])
    );
  end
endmodule
