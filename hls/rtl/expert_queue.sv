// The expert queues in use and those that follow: a token and a gate score an entry, as words come
// from memory.
//
// Interface: `begins` a queue of `entries` for `slot`, then its words in order; `legal` says
// whether all its tokens exist, `in_order` whether they rise. Two ports read an entry.
// Latency: a read 1 cycle; `legal` and `in_order` 1 cycle after the last word.
// Resources aimed at: 2 x QUEUES x max_tokens x 4 bytes of block RAM, 600 LUT.
module expert_queue
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned WORD_BITS = 16 * BUILD.input_lanes,
    localparam int unsigned ENTRIES = WORD_BITS / 32,
    localparam int unsigned ENTRY_BITS = $clog2(ENTRIES),
    localparam int unsigned ROW_BITS = $clog2(BUILD.max_tokens)
) (
    input  logic                  clock,
    input  logic                  begins,
    input  slot_t                 slot,
    input  count_t                entries,
    input  count_t                tokens,
    input  logic                  write,
    input  logic [WORD_BITS-1:0]  word,
    output logic                  legal,
    output logic                  in_order,

    input  slot_t                 slot_a,
    input  count_t                row_a,
    output logic [15:0]           token_a,
    input  slot_t                 slot_b,
    input  count_t                row_b,
    output logic [15:0]           token_b,
    output logic [15:0]           score_b
);
  localparam int unsigned PLACE_BITS = ROW_BITS - ENTRY_BITS;

  (* ram_style = "block" *) logic [WORD_BITS-1:0] words_a[QUEUES*BUILD.max_tokens/ENTRIES];
  (* ram_style = "block" *) logic [WORD_BITS-1:0] words_b[QUEUES*BUILD.max_tokens/ENTRIES];

  logic [PLACE_BITS-1:0] place;
  count_t first;  // number of the word's first entry
  logic [16:0] previous;  // token of the entry before, plus 1
  logic word_legal, word_in_order;
  logic [16:0] last;

  always_comb begin
    word_legal = 1'b1;
    word_in_order = 1'b1;
    last = previous;
    for (int entry = 0; entry < int'(ENTRIES); entry++) begin
      automatic logic [15:0] token = word[32*entry+8*ENTRY_RECORD_TOKEN+:16];
      if (first + count_t'(entry) < entries) begin
        if (token >= tokens) word_legal = 1'b0;
        if (17'(token) < last) word_in_order = 1'b0;
        last = 17'(token) + 1'b1;
      end
    end
  end

  always_ff @(posedge clock) begin
    if (begins) begin
      place <= '0;
      first <= '0;
      previous <= '0;
      legal <= 1'b1;
      in_order <= 1'b1;
    end else if (write) begin
      place <= place + 1'b1;
      first <= first + count_t'(ENTRIES);
      previous <= last;
      if (!word_legal) legal <= 1'b0;
      if (!word_in_order) in_order <= 1'b0;
    end
    if (write) begin
      words_a[{slot, place}] <= word;
      words_b[{slot, place}] <= word;
    end
  end

  logic [WORD_BITS-1:0] data_a, data_b;
  logic [ENTRY_BITS-1:0] entry_a, entry_b;
  always_ff @(posedge clock) begin
    data_a <= words_a[{slot_a, row_a[ROW_BITS-1:ENTRY_BITS]}];
    data_b <= words_b[{slot_b, row_b[ROW_BITS-1:ENTRY_BITS]}];
    entry_a <= row_a[ENTRY_BITS-1:0];
    entry_b <= row_b[ENTRY_BITS-1:0];
  end
  logic unused;
  assign unused = ^{row_a, row_b};
  assign token_a = data_a[32*entry_a+8*ENTRY_RECORD_TOKEN+:16];
  assign token_b = data_b[32*entry_b+8*ENTRY_RECORD_TOKEN+:16];
  assign score_b = data_b[32*entry_b+8*ENTRY_RECORD_SCORE+:16];
endmodule
