// The units that execute commands, and the one port to memory that the unit that runs has.
//
// Interface: `start` of one unit, with the descriptor's `words` stable until its `done`, with
// `fault` (an expert queue that is none); `selected`: whose the port is; reader, writer and weight
// ports as memory_pkg says. `activity` is for the performance counters. Of the descriptor that
// follows weights may be asked for, but nothing is written.
// Latency and initiation interval: the units'. Resources aimed at, not measured: theirs, and 1,500
// LUT.
module units
  import gearshift_pkg::*;
  import memory_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned WORD_BITS = 16 * BUILD.input_lanes,
    localparam int unsigned UNITS = 4  // product, norm, route, resize
) (
    input  logic              clock,
    input  logic              reset,
    input  logic [UNITS-1:0]  start,
    input  logic [UNITS-1:0]  selected,
    input  logic [31:0]       words[WORDS],
    output logic [UNITS-1:0]  done,
    output logic [UNITS-1:0]  fault,
    output activity_t         activity,
    input  logic                   flush,       // what was begun ahead is dropped
    input  logic                   next_valid,  // the descriptor of this program that waits
    input  logic [WORDS-1:0][31:0] next_words,

    output logic                 read_request_valid,
    input  logic                 read_request_ready,
    output request_t             read_request,
    input  logic                 read_valid,
    output logic                 read_ready,
    input  logic [WORD_BITS-1:0] read_data,
    output logic                 write_request_valid,
    input  logic                 write_request_ready,
    output request_t             write_request,
    output logic                 write_valid,
    input  logic                 write_ready,
    output logic [WORD_BITS-1:0] write_data,
    input  logic                 write_idle,

    output logic         weights_request_valid[4],
    input  logic         weights_request_ready[4],
    output stream_t      weights_request      [4],
    input  logic         weights_valid        [4],
    output logic         weights_ready        [4],
    input  logic [127:0] weights              [4]
);

  // Each unit's wishes; those of the one that runs are passed on.
  logic [UNITS-1:0] asks_to_read, takes, asks_to_write, gives;
  logic [UNITS-1:0] may_ask_to_read, is_given, may_ask_to_write, is_taken;
  request_t [UNITS-1:0] reads, writes;
  logic [UNITS-1:0][WORD_BITS-1:0] data;

  assign read_request_valid = |(asks_to_read & selected);
  assign read_ready = |(takes & selected);
  assign write_request_valid = |(asks_to_write & selected);
  assign write_valid = |(gives & selected);
  assign may_ask_to_read = selected & {UNITS{read_request_ready}};
  assign is_given = selected & {UNITS{read_valid}};
  assign may_ask_to_write = selected & {UNITS{write_request_ready}};
  assign is_taken = selected & {UNITS{write_ready}};

  always_comb begin
    read_request = '0;
    write_request = '0;
    write_data = '0;
    for (int unsigned unit = 0; unit < UNITS; unit++) begin
      if (selected[unit]) begin
        read_request |= reads[unit];
        write_request |= writes[unit];
        write_data |= data[unit];
      end
    end
  end

  // Weights: while one asks, the other is idle.
  logic asking;
  count_t asked;
  logic [BUILD.max_experts-1:0] used;
  logic product_request_valid[4], ahead_request_valid[4];
  stream_t product_request[4], ahead_request[4];

  always_comb begin
    for (int port = 0; port < 4; port++) begin
      weights_request_valid[port] = product_request_valid[port] || ahead_request_valid[port];
      weights_request[port] = ahead_request_valid[port] ? ahead_request[port]
                                                        : product_request[port];
    end
  end

  experts_ahead #(
      .BUILD(BUILD)
  ) ahead (
      .clock,
      .reset(reset || flush),
      .start(start[2]),
      .done(done[2]),
      .forget(done[0]),
      .words,
      .next_valid,
      .next_words,
      .used,
      .asking,
      .asked,
      .request_valid(ahead_request_valid),
      .request_ready(weights_request_ready),
      .request(ahead_request)
  );

  product #(
      .BUILD(BUILD)
  ) product_unit (
      .clock,
      .reset,
      .start(start[0]),
      .words,
      .done(done[0]),
      .fault(fault[0]),
      .activity,
      .read_request_valid(asks_to_read[0]),
      .read_request_ready(may_ask_to_read[0]),
      .read_request(reads[0]),
      .read_valid(is_given[0]),
      .read_ready(takes[0]),
      .read_data,
      .write_request_valid(asks_to_write[0]),
      .write_request_ready(may_ask_to_write[0]),
      .write_request(writes[0]),
      .write_valid(gives[0]),
      .write_ready(is_taken[0]),
      .write_data(data[0]),
      .write_idle,
      .asking,
      .asked,
      .weights_request_valid(product_request_valid),
      .weights_request_ready,
      .weights_request(product_request),
      .weights_valid,
      .weights_ready,
      .weights
  );

  norm #(
      .BUILD(BUILD)
  ) norm_unit (
      .clock,
      .reset,
      .start(start[1]),
      .words,
      .done(done[1]),
      .fault(fault[1]),
      .read_request_valid(asks_to_read[1]),
      .read_request_ready(may_ask_to_read[1]),
      .read_request(reads[1]),
      .read_valid(is_given[1]),
      .read_ready(takes[1]),
      .read_data,
      .write_request_valid(asks_to_write[1]),
      .write_request_ready(may_ask_to_write[1]),
      .write_request(writes[1]),
      .write_valid(gives[1]),
      .write_ready(is_taken[1]),
      .write_data(data[1]),
      .write_idle
  );

  route #(
      .BUILD(BUILD)
  ) route_unit (
      .clock,
      .reset,
      .start(start[2]),
      .words,
      .done(done[2]),
      .fault(fault[2]),
      .used,
      .read_request_valid(asks_to_read[2]),
      .read_request_ready(may_ask_to_read[2]),
      .read_request(reads[2]),
      .read_valid(is_given[2]),
      .read_ready(takes[2]),
      .read_data,
      .write_request_valid(asks_to_write[2]),
      .write_request_ready(may_ask_to_write[2]),
      .write_request(writes[2]),
      .write_valid(gives[2]),
      .write_ready(is_taken[2]),
      .write_data(data[2]),
      .write_idle
  );

  resize #(
      .BUILD(BUILD)
  ) resize_unit (
      .clock,
      .reset,
      .start(start[3]),
      .words,
      .done(done[3]),
      .fault(fault[3]),
      .read_request_valid(asks_to_read[3]),
      .read_request_ready(may_ask_to_read[3]),
      .read_request(reads[3]),
      .read_valid(is_given[3]),
      .read_ready(takes[3]),
      .read_data,
      .write_request_valid(asks_to_write[3]),
      .write_request_ready(may_ask_to_write[3]),
      .write_request(writes[3]),
      .write_valid(gives[3]),
      .write_ready(is_taken[3]),
      .write_data(data[3]),
      .write_idle
  );

endmodule
