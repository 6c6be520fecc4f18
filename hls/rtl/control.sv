// The control registers: an AXI4-Lite slave with the map of gearshift_hls/registers.py, and the
// interrupt line.
//
// Interface: `start` (valid/ready) with the arguments as they were when START was written. A START
// while a program runs is remembered with its arguments; while one is remembered and not yet taken,
// another is ignored. `program_done` for a cycle with the result sets DONE and READY. IDLE: no
// program runs or waits to; START reads as its opposite.
// Latency: a write is answered in the cycle after address and data, a read after 1.
// Resources aimed at, not measured: 900 LUT, 1,100 FF.
module control
  import gearshift_pkg::*;
  import sequencer_pkg::*;
(
    input logic clock,
    input logic reset,

    input  logic [11:0] axi_awaddr,
    input  logic        axi_awvalid,
    output logic        axi_awready,
    input  logic [31:0] axi_wdata,
    input  logic [3:0]  axi_wstrb,
    input  logic        axi_wvalid,
    output logic        axi_wready,
    output logic [1:0]  axi_bresp,
    output logic        axi_bvalid,
    input  logic        axi_bready,
    input  logic [11:0] axi_araddr,
    input  logic        axi_arvalid,
    output logic        axi_arready,
    output logic [31:0] axi_rdata,
    output logic [1:0]  axi_rresp,
    output logic        axi_rvalid,
    input  logic        axi_rready,
    output logic        interrupt_request,

    output logic                      start_valid,
    input  logic                      start_ready,
    output arguments_t                start,
    input  logic                      active,        // a program is being fetched or executed
    input  logic                      program_done,
    input  logic [31:0]               result,
    input  logic [COUNTERS-1:0][31:0] counts
);

  // Words from the first argument to the last.
  localparam int unsigned FIRST = REGISTER_WEIGHTS_0 / 4;
  localparam int unsigned LAST = REGISTER_PROGRAM / 4;
  localparam int unsigned FIRST_COUNTER = REGISTER_COUNTERS / 4;

  logic [LAST:FIRST][31:0] arguments;
  logic global_enable, done, ready, busy;
  logic [1:0] enable, pending;
  logic [31:0] last_result;

  assign axi_bresp = 2'b00;
  assign axi_rresp = 2'b00;
  assign busy = active || start_valid;

  // A write is taken when its address and its data are there and the last one's answer has gone.
  logic write;
  logic [9:0] write_word;
  assign write = axi_awvalid && axi_wvalid && !axi_bvalid;
  assign write_word = axi_awaddr[11:2];
  assign axi_awready = write;
  assign axi_wready = write;

  logic read;
  logic [9:0] read_word;
  assign read = axi_arvalid && !axi_rvalid;
  assign read_word = axi_araddr[11:2];
  assign axi_arready = read;

  logic write_low, start_written;
  assign write_low = write && axi_wstrb[0];
  assign start_written = write_low && write_word == 10'(REGISTER_CONTROL / 4) && axi_wdata[0];

  always_ff @(posedge clock) begin
    if (write) axi_bvalid <= 1'b1;
    else if (axi_bready) axi_bvalid <= 1'b0;
    if (read) axi_rvalid <= 1'b1;
    else if (axi_rready) axi_rvalid <= 1'b0;
    if (reset) begin
      axi_bvalid <= 1'b0;
      axi_rvalid <= 1'b0;
    end
  end

  always_ff @(posedge clock) begin
    for (int unsigned word = FIRST; word <= LAST; word++) begin
      for (int unsigned part = 0; part < 4; part++) begin
        if (write && axi_wstrb[part] && write_word == 10'(word))
          arguments[word][8*part+:8] <= axi_wdata[8*part+:8];
      end
    end
    if (reset) arguments <= '0;
  end

  function automatic logic [63:12] page(logic [LAST:FIRST][31:0] from, int unsigned place);
    return {from[place/4+1], from[place/4][31:12]};
  endfunction

  always_ff @(posedge clock) begin
    if (start_ready) start_valid <= 1'b0;
    if (start_written && !start_valid) begin
      start_valid <= 1'b1;
      start.weights[0] <= page(arguments, REGISTER_WEIGHTS_0);
      start.weights[1] <= page(arguments, REGISTER_WEIGHTS_1);
      start.weights[2] <= page(arguments, REGISTER_WEIGHTS_2);
      start.weights[3] <= page(arguments, REGISTER_WEIGHTS_3);
      start.memory <= page(arguments, REGISTER_MEMORY);
      start.memory_bytes <= arguments[REGISTER_MEMORY_BYTES/4];
      start.write_base <= arguments[REGISTER_WRITE_BASE/4];
      start.first_descriptor <= arguments[REGISTER_PROGRAM/4];
    end
    if (reset) start_valid <= 1'b0;
  end

  // What reading or writing changes, and then the end of a program, which must not be lost.
  always_ff @(posedge clock) begin
    if (read && read_word == 10'(REGISTER_CONTROL / 4)) begin
      done <= 1'b0;
      ready <= 1'b0;
    end
    if (write_low) begin
      case (write_word)
        10'(REGISTER_GLOBAL_INTERRUPT / 4): global_enable <= axi_wdata[0];
        10'(REGISTER_INTERRUPT_ENABLE / 4): enable <= axi_wdata[1:0];
        10'(REGISTER_INTERRUPT_STATUS / 4): pending <= pending ^ axi_wdata[1:0];
        default: ;
      endcase
    end
    if (program_done) begin
      done <= 1'b1;
      ready <= 1'b1;
      last_result <= result;
      pending <= pending | enable;
    end
    interrupt_request <= global_enable && pending != 0;
    if (reset) begin
      done <= 1'b0;
      ready <= 1'b0;
      global_enable <= 1'b0;
      enable <= '0;
      pending <= '0;
      last_result <= '0;
      interrupt_request <= 1'b0;
    end
  end

  logic [9:0] counter;
  assign counter = read_word - 10'(FIRST_COUNTER);

  always_ff @(posedge clock) begin
    if (read) begin
      axi_rdata <= '0;
      case (read_word)
        10'(REGISTER_CONTROL / 4): axi_rdata <= {28'd0, ready, !busy, done, busy};
        10'(REGISTER_GLOBAL_INTERRUPT / 4): axi_rdata <= {31'd0, global_enable};
        10'(REGISTER_INTERRUPT_ENABLE / 4): axi_rdata <= {30'd0, enable};
        10'(REGISTER_INTERRUPT_STATUS / 4): axi_rdata <= {30'd0, pending};
        10'(REGISTER_RETURN_VALUE / 4): axi_rdata <= last_result;
        default: begin
          if (read_word >= 10'(FIRST) && read_word <= 10'(LAST))
            axi_rdata <= arguments[read_word[$clog2(LAST)-1:0]];
          if (read_word >= 10'(FIRST_COUNTER) && counter < 10'(COUNTERS))
            axi_rdata <= counts[counter[$clog2(COUNTERS)-1:0]];
        end
      endcase
    end
  end

  logic unused;
  assign unused = &{axi_awaddr[1:0], axi_araddr[1:0]};

endmodule
