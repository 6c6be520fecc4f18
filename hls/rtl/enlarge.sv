// Loads of a map that is enlarged: every row of the enlarged map is computed from two rows of x,
// which wait in the hidden buffer. Other loads go through.
//
// Every result is 9, 3, 3 and 1 sixteenths of the four nearest pixels: first 3 to 1 between the
// rows, then 3 to 1 between the columns (`enlarge` of gearshift_hls/golden.py). Channel tile by
// channel tile; a column of x takes 2 cycles and makes 2 lines.
//
// Interface: loads in, loads out; the hidden buffer to read (2 cycles), the input buffer to write.
// The map's size stands still during a command.
// Initiation interval: 1 line of the enlarged map a cycle, 2 more a row and channel tile.
// Resources aimed at: 40 LUT a lane.
module enlarge
  import gearshift_pkg::*;
  import product_pkg::*;
#(
    parameter  build_t BUILD = ZCU104_BUILD,
    localparam int unsigned LANES = BUILD.input_lanes
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   restart,
    input  count_t                 tiles,         // channel tiles
    input  count_t                 width,         // of x
    input  count_t                 height,
    input  logic                   is_unsigned,
    input  count_t                 released,      // chunks

    input  logic                   in_valid,
    output logic                   in_ready,
    input  load_t                  in_load,
    output logic                   out_valid,
    input  logic                   out_ready,
    output load_t                  out_load,

    output logic                   read_hidden,
    output count_t                 read_line,
    input  logic [LANES-1:0][7:0]  read_data,
    output logic                   write_input,
    output count_t                 write_line,
    output logic [LANES-1:0][7:0]  write_data
);
  localparam int unsigned SLOT_LINES = BUILD.hidden_bytes / LANES / 2;

  typedef enum logic [2:0] {IDLE, CHOOSE, LOAD, BLEND, DRAIN} state_t;
  state_t state;
  count_t row, row_line, wanted, held_row[2];
  logic held[2];
  count_t tile, column, here;
  logic second;  // the lower row's turn
  logic [2:0] drain_cycles;

  wire count_t nearest = row >> 1;
  wire count_t below = !row[0] ? (nearest == '0 ? '0 : nearest - 1'b1)
                       : (nearest == height - 1'b1 ? nearest : nearest + 1'b1);
  wire has_nearest = held[nearest[0]] && held_row[nearest[0]] == nearest;
  wire has_below = held[below[0]] && held_row[below[0]] == below;
  wire mine = in_valid && in_load.target == LOAD_ENLARGED;
  wire last_row = row == in_load.first_row + in_load.rows - 1'b1;
  wire last_tile = tile == tiles - 1'b1;
  wire past_last = column == width;  // the step that finishes the last column
  wire ends_row = state == DRAIN && drain_cycles == '1;

  // Bytes from the start of x to a row; a row of x at most is a few thousand lines.
  logic [31:0] wanted_offset;
  logic offset_there;
  always_ff @(posedge clock) wanted_offset <= wanted * in_load.stride;

  always_comb begin
    out_load = in_load;
    out_valid = in_valid && !mine;
    if (mine) begin
      out_valid = state == LOAD && offset_there;
      out_load.target = LOAD_HIDDEN;
      out_load.address = in_load.address + wanted_offset;
      out_load.rows = 16'd1;
      out_load.first_line = wanted[0] ? count_t'(SLOT_LINES) : '0;
      out_load.ends_chunk = 1'b0;
    end
  end
  assign in_ready = mine ? ends_row && last_row : out_ready;

  always_ff @(posedge clock) begin
    offset_there <= state == LOAD;
    case (state)
      IDLE: begin
        row <= in_load.first_row;
        row_line <= in_load.first_line;
        if (mine && $signed(released - in_load.released) >= 0) state <= CHOOSE;
      end
      CHOOSE: begin
        tile <= '0;
        column <= '0;
        here <= '0;
        second <= 1'b0;
        wanted <= has_nearest ? below : nearest;
        state <= has_nearest && has_below ? BLEND : LOAD;
      end
      LOAD: if (out_valid && out_ready) begin
        held[wanted[0]] <= 1'b1;
        held_row[wanted[0]] <= wanted;
        state <= CHOOSE;
      end
      BLEND: begin
        second <= !second;
        if (second) begin
          column <= past_last ? '0 : column + 1'b1;
          here <= past_last ? tile + 1'b1 : here + tiles;
          if (past_last) begin
            tile <= tile + 1'b1;
            if (last_tile) state <= DRAIN;
          end
        end
      end
      default: if (ends_row) begin
        row <= row + 1'b1;
        row_line <= row_line + in_load.lines[15:0] + in_load.lines[15:0];
        state <= last_row ? IDLE : CHOOSE;
      end
    endcase
    drain_cycles <= state == DRAIN ? drain_cycles + 1'b1 : '0;
    if (reset || restart) begin
      state <= IDLE;
      held[0] <= 1'b0;
      held[1] <= 1'b0;
    end
  end

  // Element n: n cycles after BLEND's.
  logic [5:1] step_valid, step_second, first_column, past;
  count_t lines[6];
  always_ff @(posedge clock) begin
    read_hidden <= !reset && state == BLEND && !past_last;
    read_line <= here + ((second ? below[0] : nearest[0]) ? count_t'(SLOT_LINES) : '0);
    step_valid <= reset ? '0 : {step_valid[4:1], state == BLEND};
    step_second <= {step_second[4:1], second};
    first_column <= {first_column[4:1], column == '0};
    past <= {past[4:1], past_last};
    // Where column 2 x column of the enlarged row lies.
    lines[1] <= row_line + here + here - tile;
    for (int stage = 2; stage <= 5; stage++) lines[stage] <= lines[stage-1];
  end

  // Columns 3 to 1 between the rows, this one and the one before; at a border its own neighbour.
  logic signed [10:0] upper[LANES], now[LANES], previous[LANES];
  always_ff @(posedge clock) begin
    for (int lane = 0; lane < int'(LANES); lane++) begin
      automatic logic signed [10:0] value =
          $signed({{3{!is_unsigned && read_data[lane][7]}}, read_data[lane]});
      automatic logic signed [10:0] sum = past[3] ? now[lane] : upper[lane] + value;
      if (step_valid[3] && !step_second[3]) upper[lane] <= value + (value <<< 1);
      if (step_valid[3] && step_second[3]) begin
        now[lane] <= sum;
        previous[lane] <= first_column[3] ? sum : now[lane];
      end
    end
  end

  // The column between the two that is nearer to the one before, then that nearer to this one.
  always_ff @(posedge clock) begin
    write_input <= !reset && step_valid[5] && (step_second[5] ? !past[5] : !first_column[5]);
    write_line <= step_second[5] ? lines[5] : lines[5] - tiles;
    for (int lane = 0; lane < int'(LANES); lane++) begin
      automatic logic signed [10:0] near = step_second[5] ? now[lane] : previous[lane];
      automatic logic signed [10:0] far = step_second[5] ? previous[lane] : now[lane];
      write_data[lane] <= 8'((13'(near) * 13'sd3 + 13'(far) + 13'sd8) >>> 4);
    end
  end
endmodule
