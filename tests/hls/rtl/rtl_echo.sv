// What test_rtl_bench.py tries the bench's own parts on: a stream through a buffer of two items.
//
// Each item leaves as item + INCREMENT. FAULT makes it a bad one: 1 loses an item now and then,
// 2 withdraws what it offers, 3 changes it.
module rtl_echo #(
    parameter gearshift_pkg::build_t BUILD = gearshift_pkg::ZCU104_BUILD,
    parameter int unsigned FAULT = 0
) (
    input  logic clock,
    input  logic reset,
    input  logic in_valid,
    output logic in_ready,
    input  logic [31:0] in_data,
    output logic out_valid,
    input  logic out_ready,
    output logic [31:0] out_data
);

  logic [31:0] items[2];
  logic [1:0] count;
  logic [7:0] age;

  assign in_ready = count < 2;
  assign out_valid = count > 0 && !(FAULT == 2 && age[3:0] == 7);
  assign out_data = items[0] + BUILD.input_lanes + 32'(FAULT == 3 ? age[7] : 1'b0);

  always_ff @(posedge clock) begin
    age <= age + 1;
    if (out_valid && out_ready) begin
      items[0] <= items[1];
      if (in_valid && in_ready) items[count - 1] <= in_data;
      else count <= count - 1;
    end else if (in_valid && in_ready && !(FAULT == 1 && age[4:0] == 9)) begin
      items[count[0]] <= in_data;
      count <= count + 1;
    end
    if (reset) begin
      count <= 0;
      age <= 0;
    end
  end

endmodule
