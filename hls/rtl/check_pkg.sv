// What `check` and its parts know of a command: products of its sizes, and the regions it touches.
package check_pkg;
  import gearshift_pkg::*;

  localparam int unsigned SIZE = 40;
  localparam int unsigned PRODUCTS = 6;

  typedef logic [SIZE-1:0] size_t;
  typedef enum logic [1:0] {CONSTANT, READ, WRITE} access_t;
  typedef struct packed {
    logic present;
    logic residual;  // may be replaced in place
    access_t access;
    logic [31:0] address;
    size_t nbytes;
  } region_t;
  typedef struct packed {
    logic present;
    logic residual;
    logic written;
    logic [31:0] address;
    size_t last;  // behind the last byte
  } range_t;

  function automatic logic [27:0] queue_room(logic [23:0] entries);
    return {2'b0, entries + 24'd15 & ~24'd15, 2'b0};  // 4 bytes each, up to 64
  endfunction

endpackage
