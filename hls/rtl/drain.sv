// Empties the banks of sums: reads a complete bank row by row, and says where each result goes.
//
// A row's number goes to the bank; 3 cycles later its sums and its gate score enter the
// epilogue, or the final division of the softmax. Requests to read the residual and to write the
// result follow in order. `outstanding` counts the rows whose results have not left (`left`), so
// that every queue behind has room; a pass begins when the one before has left, because what the
// epilogue is told stands still, and a pass that adds to the residual through a queue when all
// before is in memory. A queue whose tokens do not rise may name a row twice: then it is row by
// row.
//
// Interface: a stream of passes, only of those whose sums are kept to the end.
// Latency: 3 to the sums. Initiation interval: 1 row.
// Resources aimed at: 1 DSP48E2, 900 LUT.
module drain
  import gearshift_pkg::*;
  import product_pkg::*;
  import memory_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned PLACE_BITS = $clog2(BUILD.max_tokens)
) (
    input  logic                  clock,
    input  logic                  reset,
    input  logic                  restart,
    input  logic                  pass_valid,
    output logic                  pass_ready,
    input  pass_t                 pass,

    input  logic                  complete,       // a bank more is ready to be drained
    input  logic                  settled,        // the softmax states are
    input  logic                  memory_quiet,   // all results that left are in memory
    input  logic                  left,           // a row's result left
    output logic                  nothing_outstanding,
    output logic                  bank_free,      // a cycle: `bank` may be filled again
    output logic                  bank_free_number,
    output logic                  end_share,      // a cycle: the expert queue may be overwritten

    output logic                  read,           // of the bank
    output logic                  bank,
    output logic [PLACE_BITS-1:0] place,
    output count_t                row,            // 2 cycles late: with the bank's data
    output logic                  sums_valid,

    output slot_t                 token_slot,     // the entry of the expert queue
    output count_t                token_row,
    input  logic [15:0]           token,          // a cycle later
    input  logic [15:0]           token_score,
    output logic [15:0]           score,          // with the sums

    output logic                  residual_request_valid,
    output request_t              residual_request,
    output logic                  write_request_valid,
    output request_t              write_request
);
  localparam int unsigned LINE_BYTES = BUILD.output_lanes;
  localparam int unsigned QUIET_CYCLES = 4;
  // As many as hide the latency of the final division.
  localparam int unsigned VALUE_RESULTS = 16;

  count_t output_tile, next_row, next_place;
  logic [31:0] row_offset, tile_offset;
  logic next_bank, begun;
  logic [1:0] complete_banks;
  logic [$clog2(RESULTS+1)-1:0] outstanding;
  logic [$clog2(QUIET_CYCLES+1)-1:0] quiet_cycles;

  wire of_values = pass.result == RESULT_VALUES;
  wire shares = pass.result == RESULT_SHARE;
  wire is_quiet = quiet_cycles == QUIET_CYCLES[$bits(quiet_cycles)-1:0];
  wire last_row = next_row == pass.rows - 1'b1;
  wire last_output = output_tile == pass.output_tiles - 1'b1;
  // The values of all output tiles are complete at once.
  wire begins_bank = next_row == '0 && (!of_values || output_tile == '0);
  wire ends_bank = last_row && (!of_values || last_output);
  wire may_begin = begun || (nothing_outstanding && (!shares || is_quiet));
  wire in_turn = !shares || pass.in_order || is_quiet;
  wire room = outstanding < (of_values ? ($bits(outstanding))'(VALUE_RESULTS)
                                       : ($bits(outstanding))'(RESULTS));
  wire issue = pass_valid && may_begin && in_turn && room &&
               (!begins_bank || (complete_banks != '0 && (!of_values || settled)));
  // Bytes of an item are 1, 1, 2 or 4.
  wire [1:0] format_shift = of_values ? 2'd0 : pass.format == 2'(FORMAT_RESIDUAL) ? 2'd2
                            : pass.format == 2'(FORMAT_INT16) ? 2'd1 : 2'd0;
  wire [31:0] tile_bytes = 32'(LINE_BYTES) << format_shift;

  logic unused;
  assign unused = ^pass;


  assign nothing_outstanding = outstanding == '0;
  assign pass_ready = issue && last_row && last_output;

  always_ff @(posedge clock) begin
    outstanding <= outstanding + ($bits(outstanding))'(issue) - ($bits(outstanding))'(left);
    complete_banks <= complete_banks + 2'(complete) - 2'(issue && ends_bank);
    if (!nothing_outstanding || !memory_quiet || issue) quiet_cycles <= '0;
    else if (!is_quiet) quiet_cycles <= quiet_cycles + 1'b1;
    if (issue) begin
      begun <= !pass_ready;
      next_row <= last_row ? '0 : next_row + 1'b1;
      next_place <= ends_bank || (!of_values && last_row) ? '0 : next_place + 1'b1;
      row_offset <= last_row ? '0 : row_offset + pass.y_row;
      if (last_row) begin
        output_tile <= last_output ? '0 : output_tile + 1'b1;
        tile_offset <= last_output ? '0 : tile_offset + tile_bytes;
        if (!of_values) next_bank <= !next_bank;
      end
    end
    if (reset || restart) begin
      outstanding <= '0;
      complete_banks <= '0;
      quiet_cycles <= '0;
      begun <= 1'b0;
      next_row <= '0;
      next_place <= '0;
      row_offset <= '0;
      tile_offset <= '0;
      output_tile <= '0;
      next_bank <= 1'b0;
    end
  end

  // Element n: n cycles after the decision. What a row needs of its pass goes with it, for the next
  // one may have come to the head of the queue.
  logic [3:1] valid;
  logic [4:1] writes, adds;
  count_t rows[4];
  logic [31:0] y[4], residual[4], offset[4], row_offset_late[4];
  logic [16:0] row_bytes[3];
  logic [23:0] lines[4];
  logic queued[3];
  slot_t slot_1;
  logic free_1;
  logic [15:0] score_3;
  assign rows[0] = next_row;
  assign y[0] = pass.y;
  assign residual[0] = pass.residual;
  assign offset[0] = tile_offset;
  assign row_offset_late[0] = row_offset;
  assign row_bytes[0] = pass.y_row[16:0];
  assign lines[0] = 24'd1 << format_shift;
  assign queued[0] = shares;
  always_ff @(posedge clock) begin
    valid <= reset ? '0 : {valid[2:1], issue};
    writes <= reset ? '0 : {writes[3:1], issue && pass.result != RESULT_HIDDEN};
    adds <= reset ? '0 : {adds[3:1],
                          issue && pass.result != RESULT_HIDDEN && format_shift == 2'd2};
    for (int stage = 1; stage < 4; stage++) begin
      rows[stage] <= rows[stage-1];
      y[stage] <= y[stage-1];
      residual[stage] <= residual[stage-1];
      offset[stage] <= offset[stage-1];
      row_offset_late[stage] <= row_offset_late[stage-1];
      lines[stage] <= lines[stage-1];
    end
    for (int stage = 1; stage < 3; stage++) begin
      row_bytes[stage] <= row_bytes[stage-1];
      queued[stage] <= queued[stage-1];
    end
    read <= !reset && issue;
    bank <= of_values ? pass.set : next_bank;
    place <= next_place[PLACE_BITS-1:0];
    slot_1 <= pass.slot;
    free_1 <= !reset && issue && ends_bank;
    score_3 <= token_score;
    // A row of a queue lies where its token is.
    if (queued[2]) row_offset_late[3] <= 32'(token * row_bytes[2]);
    write_request.address <= y[3] + offset[3] + row_offset_late[3];
    write_request.lines <= lines[3];
    residual_request.address <= residual[3] + offset[3] + row_offset_late[3];
    residual_request.lines <= lines[3];
  end

  assign token_slot = slot_1;
  assign token_row = rows[1];
  assign score = score_3;
  assign row = rows[3];
  assign sums_valid = valid[3];
  assign write_request_valid = writes[4];
  assign residual_request_valid = adds[4];

  // Parameters are read with the sums.
  logic [3:0] frees;
  logic [3:0] free_numbers;
  always_ff @(posedge clock) begin
    frees <= reset ? '0 : {frees[2:0], free_1};
    free_numbers <= {free_numbers[2:0], bank};
  end
  assign bank_free = frees[3];
  assign bank_free_number = free_numbers[3];
  always_ff @(posedge clock) end_share <= !reset && pass_ready && shares;
endmodule
