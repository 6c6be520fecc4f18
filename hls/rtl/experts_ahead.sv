// Asks for the first experts' weights while Route still fills their queues: when the next
// descriptor is the Experts of these queues, an expert with an entry is certain to be used.
//
// Interface: `start` and `done` of Route with its `words`; the descriptor that waits behind it;
// `used`: experts whose queue has an entry so far. Streams of both products of an expert are asked
// for as one, in the order of the experts, MOST experts at most. `asking` while it goes on, beyond
// Route's end for the experts that turned out to have no entry; then `asked`: experts before this
// one are done with. `forget` at the end of Experts.
// Latency: 6 cycles to the first request, 4 an expert, one without entries.
// Resources aimed at, not measured: 2 DSP48E2, 300 LUT.
module experts_ahead
  import gearshift_pkg::*;
  import memory_pkg::*;
  import product_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    localparam int unsigned MOST = 4
) (
    input  logic                         clock,
    input  logic                         reset,
    input  logic                         start,
    input  logic                         done,
    input  logic                         forget,
    input  logic [31:0]                  words[WORDS],
    input  logic                         next_valid,
    input  logic [WORDS-1:0][31:0]       next_words,
    input  logic [BUILD.max_experts-1:0] used,
    output logic                         asking,
    output count_t                       asked,
    output logic                         request_valid[4],
    input  logic                         request_ready[4],
    output stream_t                      request      [4]
);
  localparam int unsigned EXPERT_BITS = $clog2(BUILD.max_experts);
  localparam int unsigned MOST_BITS = $clog2(MOST + 1);

  typedef enum logic [2:0] {IDLE, WATCH, SIZES, EXPERT, ASK} state_t;
  state_t state;
  logic routed;  // `used` is complete
  logic [1:0] port;
  logic [2:0] wait_cycles;
  logic [MOST_BITS-1:0] experts;  // that were asked for
  logic [31:0] address, bytes, expert_bytes, unused_first, unused_second;
  count_t last;  // expert

  wire is_next = next_valid && next_words[0] == 32'(OP_EXPERTS) &&
                 next_words[WORD_EXPERTS_QUEUES] == words[WORD_ROUTE_QUEUES] &&
                 next_words[WORD_EXPERTS_TOKENS] == words[WORD_ROUTE_TOKENS] &&
                 next_words[WORD_EXPERTS_EXPERTS] == words[WORD_ROUTE_EXPERTS];

  expert_sizes #(.BUILD(BUILD)) sizes (
      .clock, .channels(next_words[WORD_EXPERTS_CHANNELS][15:0]),
      .hidden(next_words[WORD_EXPERTS_HIDDEN][15:0]), .first_stream(unused_first),
      .second_stream(unused_second), .expert_bytes
  );

  always_comb begin
    for (int each = 0; each < 4; each++) begin
      request_valid[each] = state == ASK && port == 2'(each);
      request[each] = '{address: address, bytes: bytes};
    end
  end
  assign asking = state == SIZES || state == EXPERT || state == ASK;

  always_ff @(posedge clock) begin
    if (done) routed <= 1'b1;
    case (state)
      WATCH: begin
        if (done) state <= IDLE;
        else if (is_next) state <= SIZES;
      end
      SIZES: begin
        wait_cycles <= wait_cycles + 1'b1;
        address <= next_words[WORD_EXPERTS_WEIGHTS];
        bytes <= expert_bytes;
        last <= next_words[WORD_EXPERTS_EXPERTS][15:0] - 1'b1;
        if (wait_cycles == 3'd4) state <= EXPERT;
        // The descriptor is taken: too late.
        if (done) state <= IDLE;
      end
      EXPERT: begin
        if (used[asked[EXPERT_BITS-1:0]]) state <= ASK;
        else if (routed) begin
          address <= address + (bytes << $clog2(BUILD.weight_ports));
          asked <= asked + 1'b1;
          if (asked == last) state <= IDLE;
        end
      end
      ASK: if (request_ready[port]) begin
        port <= port + 1'b1;
        address <= address + bytes;
        if (port == 2'd3) begin
          asked <= asked + 1'b1;
          experts <= experts + 1'b1;
          state <= asked == last || experts == MOST_BITS'(MOST - 1) ? IDLE : EXPERT;
        end
      end
      default: ;
    endcase
    if (start) begin
      state <= WATCH;
      routed <= 1'b0;
      port <= '0;
      wait_cycles <= '0;
      experts <= '0;
    end
    if (reset || start || forget) asked <= '0;
    if (reset) state <= IDLE;
  end

endmodule
