// The expert queues, as gearshift_hls/descriptor.py `Route` lays them out in memory.
//
// Of every queue the entries that fill no block of 64 bytes wait here; a full block is written. After
// the last entry the begun blocks follow, with zeros behind their entries, and the counts.
//
// Interface: entries, valid/ready, `entry_last` with the last; the writer of memory_pkg. `start`
// begins; the command's fields are stable until `done` (a cycle, everything handed to the writer).
// `used`: experts whose queue has an entry so far.
// Latency: 3; from the last entry to `done` about three cycles an expert.
// Initiation interval: an entry; a block three cycles or more.
// Resources aimed at, not measured: 1,500 LUT, most of them memory.
module route_queues
  import gearshift_pkg::*;
  import memory_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LINE = BUILD.input_lanes,  // at most 32
    localparam int unsigned WORD_BITS = 16 * LINE,
    localparam int unsigned EXPERT_BITS = $clog2(BUILD.max_experts),
    localparam int unsigned TOKEN_BITS = $clog2(BUILD.max_tokens)
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   start,
    input  logic [TOKEN_BITS-1:0]  last_token,
    input  logic [EXPERT_BITS-1:0] last_expert,
    input  logic [31:0]            queues,                // their address
    input  logic                   entry_valid,
    output logic                   entry_ready,
    input  logic [TOKEN_BITS-1:0]  entry_token,
    input  logic [EXPERT_BITS-1:0] entry_expert,
    input  logic [15:0]            entry_score,
    input  logic                   entry_last,
    output logic                   write_request_valid,
    input  logic                   write_request_ready,
    output request_t               write_request,
    output logic                   write_valid,
    input  logic                   write_ready,
    output logic [WORD_BITS-1:0]   write_data,
    output logic                   done,
    output logic [BUILD.max_experts-1:0] used
);
  localparam int unsigned ENTRIES = ALIGNMENT / ENTRY_RECORD_BYTES;  // of a block
  localparam int unsigned PLACE_BITS = $clog2(ENTRIES);
  localparam int unsigned COUNT_BITS = TOKEN_BITS + 1;
  localparam int unsigned BLOCK_BITS = COUNT_BITS - PLACE_BITS;  // number of a block in a queue
  localparam int unsigned NUMBER_BITS = EXPERT_BITS + BLOCK_BITS;  // of a block in all queues
  localparam int unsigned WAITING = 4;

  typedef logic [ENTRIES-1:0][31:0] block_t;

  typedef enum logic [2:0] {
    IDLE,
    CLEAR,    // the counts
    APPEND,   // entries
    REST,     // blocks that were begun
    COUNTS,
    FINISH    // what waits goes to memory
  } state_t;

  state_t state;
  logic [EXPERT_BITS-1:0] expert, at;
  logic step;  // something happens to the queue of expert `at`
  wire last = expert == last_expert;

  // Blocks of a queue's room in memory; the counts are the blocks before those of expert 0.
  wire [BLOCK_BITS-1:0] stride = BLOCK_BITS'(last_token >> PLACE_BITS) + 1'b1;
  wire [EXPERT_BITS:0] count_blocks = (EXPERT_BITS + 1)'(last_expert >> PLACE_BITS) + 1'b1;

  // --- counts and begun blocks ------------------------------------------------------------------
  (* ram_style = "distributed" *) logic [COUNT_BITS-1:0] counts[BUILD.max_experts];
  logic [COUNT_BITS-1:0] count;
  logic [PLACE_BITS-1:0] place;
  logic [31:0] entry;
  block_t begun, block_next, gathered;
  logic ends_block, ends_counts;
  wire [ENTRIES-1:0] filled = ~({ENTRIES{1'b1}} << place);  // items of the begun block
  wire [PLACE_BITS-1:0] count_place = PLACE_BITS'(expert);  // in a block of counts

  assign at = state == APPEND ? entry_expert : expert;
  assign count = counts[at];
  assign place = count[PLACE_BITS-1:0];
  assign entry = {entry_score, 16'(entry_token)};

  for (genvar item = 0; item < int'(ENTRIES); item++) begin : g_item
    (* ram_style = "distributed" *) logic [31:0] items[BUILD.max_experts];
    always_ff @(posedge clock) begin
      if (state == APPEND && step && place == item) items[entry_expert] <= entry;
    end
    assign begun[item] = items[at];
    always_comb begin
      if (state == COUNTS) begin
        block_next[item] = count_place == item ? 32'(count) : gathered[item];
      end else if (state == APPEND && item == ENTRIES - 1) begin
        block_next[item] = entry;
      end else begin
        block_next[item] = state == APPEND || filled[item] ? begun[item] : '0;
      end
    end
  end

  assign ends_counts = last || count_place == '1;

  always_comb begin
    case (state)
      APPEND: ends_block = place == '1;
      REST: ends_block = place != 0;
      COUNTS: ends_block = ends_counts;
      default: ends_block = 1'b0;
    endcase
  end

  // --- one queue, or one entry, a cycle -----------------------------------------------------------
  logic [$clog2(WAITING):0] waiting;  // blocks that were formed and are not in the writer
  logic block_leaves;
  wire room = waiting != ($clog2(WAITING) + 1)'(WAITING);

  assign entry_ready = state == APPEND && room;
  always_comb begin
    case (state)
      CLEAR: step = 1'b1;
      APPEND: step = entry_valid && room;
      REST, COUNTS: step = room;
      default: step = 1'b0;
    endcase
  end

  always_ff @(posedge clock) begin
    if (step && (state == CLEAR || state == APPEND)) begin
      counts[at] <= state == CLEAR ? '0 : count + 1'b1;
    end
  end

  always_ff @(posedge clock) begin
    done <= 1'b0;
    if (step && state != APPEND) expert <= last ? '0 : expert + 1'b1;
    if (state == COUNTS && step) gathered <= ends_counts ? '0 : block_next;
    case (state)
      CLEAR: if (last) state <= APPEND;
      APPEND: if (step && entry_last) state <= REST;
      REST: if (step && last) state <= COUNTS;
      COUNTS: if (step && last) state <= FINISH;
      FINISH:
      if (waiting == 0) begin
        state <= IDLE;
        done  <= 1'b1;
      end
      default: ;
    endcase
    waiting <= waiting + ($clog2(WAITING) + 1)'(step && ends_block)
        - ($clog2(WAITING) + 1)'(block_leaves);
    if (step && state == APPEND) used[entry_expert] <= 1'b1;
    if (start) begin
      used <= '0;
      state <= CLEAR;
      expert <= '0;
      gathered <= '0;
      waiting <= '0;
    end
    if (reset) state <= IDLE;
  end

  // --- the block's address: two cycles ------------------------------------------------------------
  logic [1:0] formed;
  block_t [1:0] block;
  logic [NUMBER_BITS-1:0] first_of_queue, number;  // of the queue's blocks; of the block
  logic [BLOCK_BITS-1:0] number_in_queue;
  logic of_queue;
  logic block_valid, unused_ready;
  logic [31:0] block_address;
  block_t block_data;

  always_ff @(posedge clock) begin
    formed <= {formed[0], step && ends_block};
    block <= {block[0], block_next};
    of_queue <= state != COUNTS;
    number_in_queue <= state == COUNTS ? BLOCK_BITS'(expert >> PLACE_BITS)
        : count[COUNT_BITS-1:PLACE_BITS];
    first_of_queue <= NUMBER_BITS'(at) * NUMBER_BITS'(stride);
    number <= NUMBER_BITS'(number_in_queue)
        + (of_queue ? first_of_queue + NUMBER_BITS'(count_blocks) : '0);
    if (reset) formed <= '0;
  end

  fifo #(
      .WIDTH(32 + $bits(block_t)),
      .DEPTH(WAITING)
  ) blocks (
      .clock,
      .reset,
      .in_valid(formed[1]),
      .in_ready(unused_ready),  // `waiting` keeps room
      .in_data({queues + (32'(number) << $clog2(ALIGNMENT)), block[1]}),
      .out_valid(block_valid),
      .out_ready(block_leaves),
      .out_data({block_address, block_data})
  );

  // --- to the writer: a request, then the words ---------------------------------------------------
  localparam int unsigned BLOCK_WORDS = 8 * ALIGNMENT / WORD_BITS;
  localparam int unsigned INDEX_BITS = BLOCK_WORDS > 1 ? $clog2(BLOCK_WORDS) : 1;

  logic requested;
  logic [INDEX_BITS-1:0] index;
  wire [BLOCK_WORDS-1:0][WORD_BITS-1:0] block_words = block_data;

  assign write_request_valid = block_valid && !requested;
  assign write_request = {block_address, 24'(ALIGNMENT / LINE)};
  assign write_valid = block_valid && requested;
  assign write_data = block_words[index];
  assign block_leaves = write_valid && write_ready && index == INDEX_BITS'(BLOCK_WORDS - 1);

  always_ff @(posedge clock) begin
    if (write_request_valid && write_request_ready) requested <= 1'b1;
    if (write_valid && write_ready) index <= block_leaves ? '0 : index + 1'b1;
    if (block_leaves) requested <= 1'b0;
    if (start || reset) begin
      requested <= 1'b0;
      index <= '0;
    end
  end
endmodule
