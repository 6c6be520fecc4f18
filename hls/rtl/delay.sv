// What went in CYCLES cycles ago. No reset: valid bits that must start at 0 do not go through here.
//
// Latency: CYCLES, 1 or more. Resources aimed at: a shift register in a LUT a bit.
module delay #(
    parameter int unsigned WIDTH = 1,
    parameter int unsigned CYCLES = 1
) (
    input  logic             clock,
    input  logic [WIDTH-1:0] value,
    output logic [WIDTH-1:0] delayed
);
  logic [CYCLES-1:0][WIDTH-1:0] stages;

  always_ff @(posedge clock) begin
    stages[0] <= value;
    for (int stage = 1; stage < int'(CYCLES); stage++) stages[stage] <= stages[stage-1];
  end

  assign delayed = stages[CYCLES-1];
endmodule
