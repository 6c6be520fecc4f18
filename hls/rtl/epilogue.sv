// What becomes of a row's finished sums: bias and requantisation, then GELU or the gate score, then
// the format of the result. Saturation to what the residual is added to is the drain's.
//
// Every row goes the same way: (sum + bias) multiplier / 2^shift, then a second requantisation that
// is GELU's, or the gate score's (16 fraction bits), or 1. What the channels need (bias,
// multiplier, shift) and the gate score come with the row; the rest stands still while rows are on
// their way.
//
// Latency: EPILOGUE_LATENCY. Initiation interval: 1. No stall.
// Resources aimed at: 4 DSP48E2, 2 table reads and 1,200 LUT a lane.
module epilogue
  import gearshift_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.output_lanes
) (
    input  logic                       clock,
    input  logic [LANES-1:0][31:0]     sums,
    input  logic [LANES-1:0][31:0]     bias,
    input  logic [LANES-1:0][15:0]     multiplier,
    input  logic [LANES-1:0][5:0]      shift,
    input  logic                       shares,  // times the gate score
    input  logic [15:0]                score,
    input  logic                       gelu_on,
    input  logic [15:0]                gelu_multiplier,
    input  logic [5:0]                 gelu_shift,
    input  logic [1:0]                 format,
    input  logic [7:0]                 zero,
    output logic [LANES-1:0][32:0]     results  // signed; of a residual all 33 bits count
);
  localparam logic signed [32:0] MOST_8 = 33'sd127, MOST_U8 = 33'sd255, MOST_16 = 33'sd32767;
  localparam logic signed [32:0] MOST_32 = 33'sh07FFFFFFF;

  function automatic logic signed [32:0] clamp(logic signed [32:0] value, logic signed [32:0] low,
                                               logic signed [32:0] high);
    return value < low ? low : value > high ? high : value;
  endfunction

  // Of the second requantisation; the gate score waits for its row.
  logic [15:0] late_score, second_multiplier;
  logic [5:0] second_shift;
  delay #(.WIDTH(16), .CYCLES(14)) scores (.clock, .value(score), .delayed(late_score));
  always_comb begin
    second_multiplier = shares ? late_score : gelu_on ? gelu_multiplier : 16'd1;
    second_shift = shares ? 6'(SCORE_BITS) : gelu_on ? gelu_shift : 6'd0;
  end

  for (genvar lane = 0; lane < LANES; lane++) begin : g_lane
    logic signed [32:0] biased, first, clamped, second, chosen, result;
    logic signed [22:0] activated;
    logic [15:0] late_multiplier;
    logic [5:0] late_shift;

    // 1 cycle
    always_ff @(posedge clock) begin
      biased <= 33'($signed(sums[lane])) + 33'($signed(bias[lane]));
      late_multiplier <= multiplier[lane];
      late_shift <= shift[lane];
    end
    // 8 cycles
    requantise scale (
        .clock, .value(biased), .multiplier(late_multiplier), .shift(late_shift), .result(first)
    );
    // 5 cycles: saturated for what follows, then GELU
    logic signed [15:0] value;
    always_comb value = 16'(clamp(first, -MOST_16 - 33'sd1, MOST_16));
    gelu activation (.clock, .value, .result(activated));
    logic signed [32:0] limited;
    always_ff @(posedge clock) limited <= shares ? clamp(first, -MOST_32 - 33'sd1, MOST_32) : first;
    delay #(.WIDTH(33), .CYCLES(4)) beside (.clock, .value(limited), .delayed(clamped));
    assign chosen = gelu_on ? 33'(activated) : clamped;
    // 8 cycles
    requantise scale_again (
        .clock, .value(chosen), .multiplier(second_multiplier), .shift(second_shift),
        .result(second)
    );
    // 2 cycles: what is added, then the format
    logic signed [32:0] shifted;
    always_ff @(posedge clock) begin
      shifted <= format == 2'(FORMAT_RESIDUAL) || format == 2'(FORMAT_INT16) ? second
                 : clamp(second, -MOST_16 - 33'sd1, MOST_16) + 33'(zero);
      case (format)
        2'(FORMAT_INT8): result <= clamp(shifted, -MOST_8 - 33'sd1, MOST_8);
        2'(FORMAT_UINT8): result <= clamp(shifted, 33'sd0, MOST_U8);
        2'(FORMAT_INT16): result <= clamp(shifted, -MOST_16 - 33'sd1, MOST_16);
        default: result <= shifted;
      endcase
    end
    assign results[lane] = result;
  end
endmodule
