// What a product is inside the product unit: passes of rows over the array, and loads of buffers.
//
// Every command that multiplies is a list of passes. A pass is weight-stationary: for every output
// tile, for every input tile (taps x channel tiles), all rows. A plan (linear_plan.sv and its
// neighbours) writes the list; `weight_loader`, `feeder` and `drain` each walk through it at their
// own pace. A load fills a buffer; loads that belong together are a chunk, and passes name the
// chunk that they read, so that a chunk is loaded while another one is in use.
package product_pkg;
  import gearshift_pkg::*;

  // Where a tile of weights comes from.
  typedef enum logic [1:0] {
    WEIGHTS_PORTS,  // memory, each port its share of the output channels
    WEIGHTS_KEYS,   // lines of the input buffer, one an output lane
    WEIGHTS_VALUES  // lines of the input buffer, one an input lane
  } weights_t;

  // Where the rows come from.
  typedef enum logic [2:0] {
    INPUTS_ROWS,    // the input buffer
    INPUTS_QUEUE,   // rows of the input buffer that the expert queue names
    INPUTS_MAP,     // 3x3 neighbourhoods of the map in the input buffer
    INPUTS_HIDDEN,  // the hidden buffer
    INPUTS_SOFTMAX  // softmax weights of a block of keys
  } inputs_t;

  // What becomes of the sums.
  typedef enum logic [2:0] {
    RESULT_STORE,   // to memory, row by row
    RESULT_SHARE,   // times the gate score, added to the rows that the expert queue names
    RESULT_HIDDEN,  // to the hidden buffer
    RESULT_SCORES,  // of a block of keys: to the softmax
    RESULT_VALUES   // weighted values, kept until the last block of keys
  } result_t;

  typedef logic [15:0] count_t;  // rows, tiles, lines of a buffer, chunks

  // Expert queues that are held: the experts whose weights are on their way are ahead of the array.
  localparam int unsigned QUEUES = 4;  // a power of two
  typedef logic [$clog2(QUEUES)-1:0] slot_t;
  // Passes that the plan is ahead.
  localparam int unsigned PASSES = 2 * QUEUES;

  typedef struct packed {
    count_t rows;
    count_t channel_tiles;
    count_t output_tiles;
    logic is_map;  // nine taps, not one
    weights_t weights;
    inputs_t inputs;
    result_t result;
    logic is_unsigned;  // inputs are uint8
    count_t chunk;      // that it reads
    logic ends_chunk;   // no later pass reads it
    logic by_columns;   // the chunk is loaded so
    count_t first_line; // of row 0 in its buffer; MAP: of the row above row 0
    slot_t slot;        // QUEUE and SHARE: of the expert queues; softmax: 0 or 1, of two blocks
    logic in_order;     // SHARE: the queue's tokens rise
    // MAP
    count_t width;
    count_t map_line;   // lines of the buffer that a row of the map takes
    count_t height;     // of the whole map
    count_t first_row;  // the row of the map that row 0 begins
    // KEYS, VALUES
    count_t key_line;   // of the block's first key
    count_t key_stride; // lines from one key to the next
    logic [5:0] keys;   // of the block
    logic first_block;
    logic last_block;
    logic set;          // of queries: parity, for the softmax states and the banks
    logic [15:0] multiplier;  // SCORES: of the products; VALUES: of the result
    logic [5:0] shift;
    // the result
    logic [1:0] format;
    logic gelu;
    logic [15:0] gelu_multiplier;
    logic [5:0] gelu_shift;
    logic [7:0] zero;
    logic [31:0] y;      // address of row 0's result
    logic [31:0] y_row;  // bytes from one row to the next
    logic [31:0] residual;  // address of the rows that are added to, y_row apart
  } pass_t;

  // Lines of a row that a load by columns takes at a time: on-chip memory has a word a cycle
  // wherever it lies, external memory wants long reads.
  localparam int unsigned SCRATCH_COLUMNS = 2;
  localparam int unsigned EXTERNAL_COLUMN_BYTES = 256;

  typedef enum logic [2:0] {
    LOAD_INPUT,    // rows to the input buffer
    LOAD_HIDDEN,   // rows to the hidden buffer
    LOAD_ENLARGED, // rows of a map, enlarged, to the input buffer
    LOAD_QUEUE,    // an expert queue
    LOAD_RECORDS   // the lengths of all expert queues; the parameters of all heads
  } target_t;

  typedef struct packed {
    target_t target;
    logic [31:0] address;
    logic [31:0] stride;  // bytes from one row to the next
    logic [23:0] lines;   // of a row
    count_t rows;
    count_t first_line;   // in the buffer; QUEUE: its slot
    count_t first_row;    // ENLARGED: of the enlarged map
    count_t released;     // chunks that must have been released before
    logic by_columns;     // some channel tiles of all rows, then the next ones
    logic ends_chunk;     // the chunk is complete with it
  } load_t;

  // A pass, and what the ports bring for it: the streams of two ports lie `stride` apart.
  typedef struct packed {
    pass_t pass;
    logic [31:0] address;
    logic [31:0] stride;
    logic [31:0] bytes;  // 0: nothing, or it was asked for before
  } planned_t;

  // What travels with a row through the array.
  typedef struct packed {
    logic swap;       // the tile's weights become active with this row
    logic is_unsigned;
    inputs_t inputs;
    logic present;    // not beyond the border of a map
    logic fresh;      // no sum so far
    logic final_tile; // of the input tiles
    logic completes;  // with this row the bank is ready to be drained
    logic bank;
    count_t place;    // in the bank
    count_t row;
    logic last_row;
    logic scores;     // to the softmax after the final tile
    slot_t slot;
    logic set;
    logic first_block;
    logic last_block;
    logic [5:0] keys;
    logic [15:0] multiplier;
    logic [5:0] shift;
  } tag_t;

  // Cycles from the decision to feed a row, or to load a beat, until it enters the array.
  localparam int unsigned FEED_LATENCY = 7;
  // A partial sum may be used again so many cycles later.
  localparam int unsigned LEAST_TILE_CYCLES = 8;
  // Cycles that a row takes through the epilogue.
  localparam int unsigned EPILOGUE_LATENCY = 24;
  // Results on their way through the epilogue.
  localparam int unsigned RESULTS = 32;

  function automatic count_t lower(count_t a, count_t b);
    return a < b ? a : b;
  endfunction

endpackage
