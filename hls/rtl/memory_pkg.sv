// What the units of the accelerator and its memory system say to each other.
//
// A LINE is BUILD.input_lanes bytes, a WORD two lines. All rows and regions are whole lines.
//
// A unit that reads memory has these ports (the reader answers requests in order, the lines of a
// request packed from its first word's lower half on; the upper half of an odd last line is
// undefined):
//   output logic read_request_valid, input logic read_request_ready, output request_t read_request,
//   input logic read_valid, output logic read_ready, input logic [WORD_BITS-1:0] read_data
// A unit that writes memory has these (data follows its requests in order; `write_idle`: all that
// was taken is in memory):
//   output logic write_request_valid, input logic write_request_ready,
//   output request_t write_request,
//   output logic write_valid, input logic write_ready, output logic [WORD_BITS-1:0] write_data,
//   input logic write_idle
// The unit that reads weights has these, an element a port (a port takes a next stream while one
// runs and yields the beats of both in order):
//   output logic weights_request_valid [4], input logic weights_request_ready [4],
//   output stream_t weights_request [4],
//   input logic weights_valid [4], output logic weights_ready [4], input logic [127:0] weights [4]
package memory_pkg;

  // Lines to read or to write.
  typedef struct packed {
    logic [31:0] address;  // a multiple of a line; external memory, or from SCRATCH on
    logic [23:0] lines;  // 1 or more
  } request_t;

  // A weight stream, read from external memory.
  typedef struct packed {
    logic [31:0] address;  // a multiple of 16 bytes
    logic [31:0] bytes;  // a multiple of 16, 16 or more
  } stream_t;

  // What the array does in a cycle; at most one bit is set. For the performance counters.
  typedef struct packed {
    logic busy;  // a row entered the array
    logic waits_for_weights;  // the next tile's weights have not arrived
    logic waits_for_data;  // the rows have not arrived, or the results find no room
  } activity_t;

endpackage
