// From the logits of a token's experts to its chosen experts and their gate scores.
//
// Three steps, one expert a cycle each, several tokens under way: the chosen experts by insertion
// (an equal logit goes behind, so to the higher expert) and the logits as powers of two; 2^-distance
// from the largest of them, and the sum; the chosen ones' shares of it, by division.
//
// Interface: groups of logits as route_scores gives them; entries (token, expert, gate score) leave,
// valid/ready, token by token, `entry_last` with the command's last. `start` begins; the command's
// fields are stable until its end.
// Latency: two times the experts and about 50. Initiation interval: a token's experts.
// Resources aimed at, not measured: 2 DSP, 6,000 LUT.
module route_choice
  import gearshift_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD,
    parameter int unsigned LOGIT_BITS = 43,
    localparam int unsigned GROUP = 4,
    localparam int unsigned EXPERT_BITS = $clog2(BUILD.max_experts),
    localparam int unsigned TOKEN_BITS = $clog2(BUILD.max_tokens),
    localparam int unsigned CHOICES = BUILD.max_top_k,
    localparam int unsigned CHOICE_BITS = $clog2(CHOICES)
) (
    input  logic                              clock,
    input  logic                              reset,
    input  logic                              start,
    input  logic [TOKEN_BITS-1:0]             last_token,
    input  logic [EXPERT_BITS-1:0]            last_expert,
    input  logic [CHOICE_BITS-1:0]            last_choice,   // top_k - 1
    input  logic [15:0]                       multiplier,
    input  logic [5:0]                        shift,
    input  logic [15:0]                       prune,
    input  logic                              logits_valid,
    output logic                              logits_ready,
    input  logic [GROUP-1:0][LOGIT_BITS-1:0]  logits,
    output logic                              entry_valid,
    input  logic                              entry_ready,
    output logic [TOKEN_BITS-1:0]             entry_token,
    output logic [EXPERT_BITS-1:0]            entry_expert,
    output logic [15:0]                       entry_score,
    output logic                              entry_last
);
  localparam int unsigned POWERS = 2 * BUILD.max_experts;  // that may wait
  localparam int unsigned POWER_BITS = $clog2(POWERS) + 1;
  localparam int unsigned TOKENS = 16;  // that may be under way in a step
  localparam int unsigned UNDER_WAY_BITS = $clog2(TOKENS) + 1;
  localparam int unsigned TOTAL_BITS = 17 + EXPERT_BITS;

  typedef logic [CHOICES-1:0][EXPERT_BITS-1:0] chosen_t;

  // --- first step: the chosen experts -----------------------------------------------------------
  localparam int unsigned POWER_AT = 1 + 4 + 4;  // after the cycle of a logit

  typedef struct packed {
    logic signed [LOGIT_BITS-1:0] logit;
    logic [EXPERT_BITS-1:0] expert;
  } choice_t;

  localparam logic signed [LOGIT_BITS-1:0] LEAST = {1'b1, {LOGIT_BITS - 1{1'b0}}};

  logic [EXPERT_BITS-1:0] expert;
  logic takes, first, last;
  choice_t now;
  choice_t [CHOICES-1:0] best;
  logic [CHOICES-1:0] above;  // now goes before what is there
  logic [POWER_BITS-1:0] powers_room;
  logic [UNDER_WAY_BITS-1:0] choosing;  // tokens from their first logit to their second step
  logic second_takes, second_last;
  chosen_t chosen_now, chosen;
  logic chosen_ended, chosen_valid, unused_chosen_ready;

  assign first = expert == 0;
  assign last = expert == last_expert;
  assign takes = logits_valid && powers_room != 0 && (!first || choosing != UNDER_WAY_BITS'(TOKENS));
  assign logits_ready = takes && (last || expert[$clog2(GROUP)-1:0] == '1);
  assign now = {logits[expert[$clog2(GROUP)-1:0]], expert};

  for (genvar slot = 0; slot < int'(CHOICES); slot++) begin : g_slot
    // What an earlier token left is less than anything.
    assign above[slot] = first || now.logit > best[slot].logit;
    assign chosen_now[slot] = best[slot].expert;
    always_ff @(posedge clock) begin
      if (takes) begin
        if (slot > 0 && above[slot>0?slot-1 : 0]) begin
          best[slot] <= first ? {LEAST, {EXPERT_BITS{1'b0}}} : best[slot>0?slot-1 : 0];
        end else if (above[slot]) begin
          best[slot] <= now;
        end
      end
    end
  end

  always_ff @(posedge clock) begin
    if (takes) expert <= last ? '0 : expert + 1'b1;
    chosen_ended <= takes && last;
    powers_room <= powers_room - POWER_BITS'(takes) + POWER_BITS'(second_takes);
    choosing <= choosing + UNDER_WAY_BITS'(takes && first)
        - UNDER_WAY_BITS'(second_takes && second_last);
    if (start) begin
      expert <= '0;
      powers_room <= POWER_BITS'(POWERS);
      choosing <= '0;
    end
    if (reset) chosen_ended <= 1'b0;
  end

  fifo #(
      .WIDTH($bits(chosen_t)),
      .DEPTH(TOKENS)
  ) chosen_experts (
      .clock,
      .reset,
      .in_valid(chosen_ended),
      .in_ready(unused_chosen_ready),  // `choosing` keeps room
      .in_data(chosen_now),
      .out_valid(chosen_valid),
      .out_ready(second_takes && second_last),
      .out_data(chosen)
  );

  // --- logits as powers of two, and the largest of a token ------------------------------------------
  localparam int unsigned PRODUCT_BITS = LOGIT_BITS + 17;

  logic [POWER_AT:0] power_valid, power_first, power_last;
  logic signed [LOGIT_BITS-1:0] logit;
  logic signed [PRODUCT_BITS-1:0] scaled;
  logic signed [31:0] power_now, largest, power_old, top;
  logic largest_ended, top_valid, power_waits, unused_power_ready, unused_top_ready;

  assign power_valid[0] = takes;
  assign power_first[0] = first;
  assign power_last[0] = last;

  always_ff @(posedge clock) begin
    power_valid[POWER_AT:1] <= power_valid[POWER_AT-1:0];
    power_first[POWER_AT:1] <= power_first[POWER_AT-1:0];
    power_last[POWER_AT:1] <= power_last[POWER_AT-1:0];
    logit <= now.logit;
    if (power_valid[POWER_AT] && (power_first[POWER_AT] || power_now > largest)) begin
      largest <= power_now;
    end
    largest_ended <= power_valid[POWER_AT] && power_last[POWER_AT];
    if (reset) begin
      power_valid[POWER_AT:1] <= '0;
      largest_ended <= 1'b0;
    end
  end

  multiply #(
      .A_BITS(LOGIT_BITS),
      .B_BITS(17)
  ) to_base_two (
      .clock,
      .a(logit),
      .b({1'b0, multiplier}),
      .product(scaled)
  );
  shift_right #(
      .VALUE_BITS (PRODUCT_BITS),
      .RESULT_BITS(32)
  ) to_power (
      .clock,
      .value(scaled),
      .shift,
      .result(power_now)
  );

  fifo #(
      .WIDTH(32),
      .DEPTH(POWERS)
  ) powers (
      .clock,
      .reset,
      .in_valid(power_valid[POWER_AT]),
      .in_ready(unused_power_ready),  // powers_room keeps room
      .in_data(power_now),
      .out_valid(power_waits),
      .out_ready(second_takes),
      .out_data(power_old)
  );
  fifo #(
      .WIDTH(32),
      .DEPTH(TOKENS)
  ) tops (
      .clock,
      .reset,
      .in_valid(largest_ended),
      .in_ready(unused_top_ready),
      .in_data(largest),
      .out_valid(top_valid),
      .out_ready(second_takes && second_last),
      .out_data(top)
  );

  // --- second step: 2^-distance of all experts, and their sum -----------------------------------------
  localparam int unsigned TERM_AT = 1 + 5;
  localparam int unsigned SHARED = 4;  // tokens whose terms may wait

  typedef struct packed {
    logic valid;
    logic first;
    logic last;
    logic [CHOICES-1:0] chosen_as;  // this expert is the token's choice so and so
    chosen_t chosen;
  } term_step_t;

  typedef struct packed {
    chosen_t chosen;
    logic [CHOICES-1:0][16:0] terms;
    logic [TOTAL_BITS-1:0] total;
  } shares_t;

  term_step_t [TERM_AT:0] step;
  logic [EXPERT_BITS-1:0] second_expert;
  logic [32:0] below;
  logic [16:0] term;
  shares_t summed, sharing;
  logic summed_ended, shares_valid, unused_shares_ready;
  logic [2:0] summing;  // tokens from their second step to the end of their third
  logic third_takes, third_last;

  assign second_last = second_expert == last_expert;
  assign second_takes = chosen_valid && top_valid && power_waits
      && (second_expert != 0 || summing != 3'(SHARED));
  assign step[0].valid = second_takes;
  assign step[0].first = second_expert == 0;
  assign step[0].last = second_last;
  assign step[0].chosen = chosen;
  for (genvar slot = 0; slot < int'(CHOICES); slot++) begin : g_chosen
    assign step[0].chosen_as[slot] = chosen[slot] == second_expert;
  end

  always_ff @(posedge clock) begin
    if (second_takes) second_expert <= second_last ? '0 : second_expert + 1'b1;
    step[TERM_AT:1] <= step[TERM_AT-1:0];
    below <= {top[31], top} - {power_old[31], power_old};
    if (step[TERM_AT].valid) begin
      summed.chosen <= step[TERM_AT].chosen;
      summed.total <= (step[TERM_AT].first ? '0 : summed.total) + TOTAL_BITS'(term);
      for (int slot = 0; slot < int'(CHOICES); slot++) begin
        if (step[TERM_AT].chosen_as[slot]) summed.terms[slot] <= term;
      end
    end
    summed_ended <= step[TERM_AT].valid && step[TERM_AT].last;
    summing <= summing + 3'(second_takes && second_expert == 0) - 3'(third_takes && third_last);
    if (start) begin
      second_expert <= '0;
      summing <= '0;
    end
    if (reset) begin
      for (int age = 1; age <= int'(TERM_AT); age++) step[age].valid <= 1'b0;
      summed_ended <= 1'b0;
    end
  end

  power #(
      .BELOW_BITS(33)
  ) term_of (
      .clock,
      .below,
      .result(term)
  );

  fifo #(
      .WIDTH($bits(shares_t)),
      .DEPTH(SHARED)
  ) shares (
      .clock,
      .reset,
      .in_valid(summed_ended),
      .in_ready(unused_shares_ready),  // `summing` keeps room
      .in_data(summed),
      .out_valid(shares_valid),
      .out_ready(third_takes && third_last),
      .out_data(sharing)
  );

  // --- third step: gate scores --------------------------------------------------------------------
  localparam int unsigned SCORE_AT = 1 + 17;
  localparam int unsigned ENTRIES = 32;  // that may be under way or wait
  localparam int unsigned ENTRIES_BITS = $clog2(ENTRIES) + 1;

  typedef struct packed {
    logic last;
    logic [TOKEN_BITS-1:0] token;
    logic [EXPERT_BITS-1:0] expert;
  } entry_t;

  logic [CHOICE_BITS-1:0] slot;
  logic [TOKEN_BITS-1:0] token;
  logic [ENTRIES_BITS-1:0] dividing;
  logic [32:0] numerator;
  logic [TOTAL_BITS-1:0] divisor;
  logic [16:0] share;
  logic [15:0] limited, score;
  logic [SCORE_AT:0] score_valid;
  entry_t entry, entry_scored;
  logic unused_entry_ready;

  assign third_last = slot == last_choice;
  assign third_takes = shares_valid && dividing != ENTRIES_BITS'(ENTRIES);
  assign entry = {third_last && token == last_token, token, sharing.chosen[slot]};
  assign score_valid[0] = third_takes;
  assign limited = share[16] ? 16'hffff : share[15:0];
  assign score = limited <= prune ? '0 : limited;

  always_ff @(posedge clock) begin
    if (third_takes) begin
      slot <= third_last ? '0 : slot + 1'b1;
      if (third_last) token <= token + 1'b1;
    end
    numerator <= {sharing.terms[slot], 16'd0} + 33'(sharing.total >> 1);
    divisor <= sharing.total;
    score_valid[SCORE_AT:1] <= score_valid[SCORE_AT-1:0];
    dividing <= dividing + ENTRIES_BITS'(third_takes) - ENTRIES_BITS'(entry_valid && entry_ready);
    if (start) begin
      slot <= '0;
      token <= '0;
      dividing <= '0;
    end
    if (reset) score_valid[SCORE_AT:1] <= '0;
  end

  divide #(
      .NUMERATOR_BITS(33),
      .DIVISOR_BITS  (TOTAL_BITS),
      .QUOTIENT_BITS (17)
  ) share_of (
      .clock,
      .numerator,
      .divisor,
      .quotient(share)
  );
  delay #(
      .WIDTH ($bits(entry_t)),
      .CYCLES(SCORE_AT)
  ) hold_entry (
      .clock,
      .value(entry),
      .delayed(entry_scored)
  );

  fifo #(
      .WIDTH($bits(entry_t) + 16),
      .DEPTH(ENTRIES)
  ) entries (
      .clock,
      .reset,
      .in_valid(score_valid[SCORE_AT]),
      .in_ready(unused_entry_ready),  // `dividing` keeps room
      .in_data({entry_scored, score}),
      .out_valid(entry_valid),
      .out_ready(entry_ready),
      .out_data({entry_last, entry_token, entry_expert, entry_score})
  );
endmodule
