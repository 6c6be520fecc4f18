// What is known of a program and of a descriptor on its way to a unit.
package sequencer_pkg;

  import gearshift_pkg::*;

  // The arguments of a start; the registers of gearshift_hls/registers.py.
  typedef struct packed {
    logic [3:0][63:12] weights;  // pages: physical addresses of memory, a port each
    logic [63:12] memory;
    logic [31:0] memory_bytes;
    logic [31:0] write_base;
    logic [31:0] first_descriptor;
  } arguments_t;

  // A descriptor that was fetched and checked.
  typedef struct packed {
    arguments_t arguments;
    logic first;  // of its program
    logic [23:0] number;
    status_t status;  // STATUS_DONE: legal
    logic [WORDS-1:0][31:0] words;
  } descriptor_t;

  // What happened in a cycle, beside what the array did: the performance counters add it up.
  typedef struct packed {
    logic memory_waits;
    logic memory_read;  // a beat of 16 bytes
    logic memory_written;
    logic [3:0] weights_read;
    logic [1:0] scratch_read;  // lines
    logic [1:0] scratch_written;
  } traffic_t;

endpackage
