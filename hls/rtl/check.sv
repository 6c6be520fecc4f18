// Whether a descriptor is legal: the same answer as gearshift_hls/descriptor.py `check` for every
// pattern of bits.
//
// Interface: `start` with the words, which stay until `done` (a cycle, with `status`). Sizes first,
// then addresses; one field, one product, one region, one pair of regions at a time, since a check
// runs beside the command before. Products are formed of legal sizes only, so that 40 bits hold
// them.
// Latency: 3 cycles for an unknown command or End, otherwise at most 70.
// Resources aimed at, not measured: 4 DSP, 1,200 LUT.
module check
  import gearshift_pkg::*;
  import check_pkg::*;
#(
    parameter build_t BUILD = ZCU104_BUILD
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic                   start,
    input  logic [WORDS-1:0][31:0] words,
    input  logic [31:0]            memory_bytes,
    input  logic [31:0]            write_base,
    output logic                   done,
    output status_t                status
);

  localparam int unsigned REGIONS = 4;

  typedef enum logic [2:0] {IDLE, FIELDS_LEGAL, MULTIPLY, FITS, PLACES, CLASHES} state_t;
  state_t state;
  logic [4:0] step;
  opcode_t opcode;
  assign opcode = opcode_t'(words[0][7:0]);

  // A field and its limits.
  limit_t limits;
  logic [31:0] value;
  logic field_legal;

  always_ff @(posedge clock) begin
    limits <= limit(BUILD, opcode, step);
    value <= words[step];
  end
  assign field_legal = value >= limits.least && value <= limits.most
      && !(limits.lanes && value[$clog2(BUILD.channel_multiple)-1:0] != 0);

  // Products of sizes: four steps each.
  size_t [PRODUCTS-1:0] products;
  logic [2:0] which;
  logic [27:0] left;
  logic [20:0] right;
  size_t product, product_kept;
  logic [27:0] left_factor;
  logic [20:0] right_factor;
  logic [2:0] last_product;

  assign which = step[4:2];

  check_factors factors (
      .words,
      .which,
      .products,
      .left_factor,
      .right_factor,
      .last_product
  );

  always_ff @(posedge clock) begin
    left <= left_factor;
    right <= right_factor;
    product <= size_t'(left) * size_t'(right);
    product_kept <= product;
    if (state == MULTIPLY && step[1:0] == 2'd3) products[which] <= product_kept;
  end

  // Whether the build's buffers hold the command.
  logic fits, fits_kept;

  always_comb begin
    case (opcode)
      OP_NORM: fits = words[WORD_NORM_TRUE_CHANNELS] <= words[WORD_NORM_CHANNELS];
      OP_LINEAR:
      fits = words[WORD_LINEAR_INPUTS] <= BUILD.input_bytes
          && !(words[WORD_LINEAR_GELU][0] && words[WORD_LINEAR_FORMAT][1]);
      OP_ATTENTION: fits = {products[2][SIZE-2:0], 1'b0} <= size_t'(BUILD.input_bytes);
      OP_ROUTE: fits = words[WORD_ROUTE_TOP_K] <= words[WORD_ROUTE_EXPERTS];
      OP_EXPERTS:
      fits = products[0] <= size_t'(BUILD.input_bytes)
          && products[1] <= size_t'(BUILD.hidden_bytes);
      OP_CONVOLUTION:
      fits = !(words[WORD_CONVOLUTION_UPSAMPLE][0]
               && (words[WORD_CONVOLUTION_HEIGHT][0] || words[WORD_CONVOLUTION_WIDTH][0]))
          && products[4] + {products[4][SIZE-2:0], 1'b0} <= size_t'(BUILD.input_bytes)
          && words[WORD_CONVOLUTION_WIDTH] <= BUILD.max_tokens;
      OP_RESIZE: fits = {products[0][SIZE-3:0], 2'b0} <= size_t'(BUILD.input_bytes);
      default: fits = 1'b1;
    endcase
  end

  // The regions that the command touches.
  region_t region, region_kept;

  function automatic region_t region_of(access_t access, logic [31:0] address, size_t nbytes);
    return '{present: 1'b1, residual: 1'b0, access: access, address: address, nbytes: nbytes};
  endfunction

  function automatic size_t queue_bytes(size_t entries, logic [23:0] experts);
    return entries + size_t'(queue_room(experts));
  endfunction

  always_comb begin
    region = '0;
    case ({opcode, 3'd0, step})
      {OP_NORM, 8'd0}: region = region_of(READ, words[WORD_NORM_X], products[0] << 2);
      {OP_NORM, 8'd2}:
      region = region_of(CONSTANT, words[WORD_NORM_PARAMETERS],
                         size_t'(words[WORD_NORM_CHANNELS]) << $clog2(NORM_BYTES));
      {OP_NORM, 8'd4}: region = region_of(WRITE, words[WORD_NORM_Y], products[0]);
      {OP_NORM, 8'd6}:
      if (words[WORD_NORM_NORMALISED] != 0)
        region = region_of(WRITE, words[WORD_NORM_NORMALISED], products[0] << 1);
      {OP_LINEAR, 8'd0}: region = region_of(READ, words[WORD_LINEAR_X], products[1]);
      {OP_LINEAR, 8'd2}: region = region_of(CONSTANT, words[WORD_LINEAR_WEIGHTS], products[2]);
      {OP_LINEAR, 8'd4}:
      case (words[WORD_LINEAR_FORMAT][1:0])
        FORMAT_INT16[1:0]: region = region_of(WRITE, words[WORD_LINEAR_Y], products[0] << 1);
        FORMAT_RESIDUAL[1:0]: region = region_of(WRITE, words[WORD_LINEAR_Y], products[0] << 2);
        default: region = region_of(WRITE, words[WORD_LINEAR_Y], products[0]);
      endcase
      {OP_LINEAR, 8'd6}:
      if (words[WORD_LINEAR_FORMAT][1:0] == FORMAT_RESIDUAL[1:0]) begin
        region = region_of(READ, words[WORD_LINEAR_RESIDUAL], products[0] << 2);
        region.residual = 1'b1;
      end
      {OP_ATTENTION, 8'd0}:
      region = region_of(READ, words[WORD_ATTENTION_X], products[1] + (products[1] << 1));
      {OP_ATTENTION, 8'd2}:
      region = region_of(CONSTANT, words[WORD_ATTENTION_PARAMETERS],
                         size_t'(words[WORD_ATTENTION_HEADS]) << $clog2(HEAD_BYTES));
      {OP_ATTENTION, 8'd4}: region = region_of(WRITE, words[WORD_ATTENTION_Y], products[1]);
      {OP_ROUTE, 8'd0}: region = region_of(READ, words[WORD_ROUTE_NORMALISED], products[0] << 1);
      {OP_ROUTE, 8'd2}: region = region_of(CONSTANT, words[WORD_ROUTE_WEIGHTS], products[1] << 1);
      {OP_ROUTE, 8'd4}:
      region = region_of(CONSTANT, words[WORD_ROUTE_BIASES],
                         size_t'(words[WORD_ROUTE_EXPERTS]) << 2);
      {OP_ROUTE, 8'd6}:
      region = region_of(WRITE, words[WORD_ROUTE_QUEUES],
                         queue_bytes(products[2], words[WORD_ROUTE_EXPERTS][23:0]));
      {OP_EXPERTS, 8'd0}: region = region_of(READ, words[WORD_EXPERTS_X], products[0]);
      {OP_EXPERTS, 8'd2}:
      region = region_of(READ, words[WORD_EXPERTS_QUEUES],
                         queue_bytes(products[2], words[WORD_EXPERTS_EXPERTS][23:0]));
      {OP_EXPERTS, 8'd4}: region = region_of(CONSTANT, words[WORD_EXPERTS_WEIGHTS], products[5]);
      {OP_EXPERTS, 8'd6}: region = region_of(WRITE, words[WORD_EXPERTS_Y], products[0] << 2);
      {OP_CONVOLUTION, 8'd0}:
      region = region_of(READ, words[WORD_CONVOLUTION_X],
                         words[WORD_CONVOLUTION_UPSAMPLE][0] ? products[1] >> 2 : products[1]);
      {OP_CONVOLUTION, 8'd2}:
      region = region_of(CONSTANT, words[WORD_CONVOLUTION_WEIGHTS], products[3]);
      {OP_CONVOLUTION, 8'd4}: region = region_of(WRITE, words[WORD_CONVOLUTION_Y], products[2]);
      {OP_RESIZE, 8'd0}: region = region_of(READ, words[WORD_RESIZE_X], products[1] << 1);
      {OP_RESIZE, 8'd2}: region = region_of(WRITE, words[WORD_RESIZE_Y], products[1] << 3);
      default: region = '0;
    endcase
  end

  size_t last_byte;
  logic lies_within;
  range_t ranges[REGIONS];

  assign last_byte = size_t'(region_kept.address) + region_kept.nbytes;

  always_comb begin
    if (region_kept.access == CONSTANT) lies_within = last_byte <= size_t'(write_base);
    else if (region_kept.address >= SCRATCH)
      lies_within = last_byte <= size_t'(SCRATCH) + size_t'(BUILD.scratch_bytes);
    else
      lies_within = last_byte <= size_t'(memory_bytes)
          && (region_kept.access == READ || region_kept.address >= write_base);
    if (region_kept.address[$clog2(ALIGNMENT)-1:0] != 0) lies_within = 1'b0;
    if (!region_kept.present) lies_within = 1'b1;
  end

  always_ff @(posedge clock) begin
    region_kept <= region;
    if (state == PLACES && step[0])
      ranges[step[2:1]] <= '{
          present: region_kept.present,
          residual: region_kept.residual,
          written: region_kept.access == WRITE,
          address: region_kept.address,
          last: last_byte
      };
  end

  // Pairs of regions: what is written must not change what else is touched.
  range_t one, other;
  logic pair_differs, apart, unused;
  assign unused = &{one.residual, other.written};

  always_ff @(posedge clock) begin
    one <= ranges[step[3:2]];
    other <= ranges[step[1:0]];
    pair_differs <= step[3:2] != step[1:0];
  end
  assign apart = one.last <= size_t'(other.address) || other.last <= size_t'(one.address)
      || (other.residual && other.address == one.address)
      || !(pair_differs && one.present && one.written && other.present);

  always_ff @(posedge clock) begin
    done <= 1'b0;
    step <= step + 1'b1;
    case (state)
      FIELDS_LEGAL:
      if (step != 5'd1 && !field_legal) begin
        done <= 1'b1;
        status <= STATUS_BAD_SIZE;
        state <= IDLE;
      end else if (step == 5'(FIELDS + 1)) begin
        step <= '0;
        state <= MULTIPLY;
      end
      MULTIPLY:
      if (step == {last_product, 2'd3}) begin
        step <= '0;
        state <= FITS;
      end
      FITS: begin
        fits_kept <= fits;
        if (step[0]) begin
          step <= '0;
          state <= PLACES;
          if (!fits_kept) begin
            done <= 1'b1;
            status <= STATUS_BAD_SIZE;
            state <= IDLE;
          end
        end
      end
      PLACES:
      if (step[0] && !lies_within) begin
        done <= 1'b1;
        status <= STATUS_BAD_ADDRESS;
        state <= IDLE;
      end else if (step == 5'(2 * REGIONS - 1)) begin
        step <= '0;
        state <= CLASHES;
      end
      CLASHES:
      if (step != 0 && !apart) begin
        done <= 1'b1;
        status <= STATUS_BAD_ADDRESS;
        state <= IDLE;
      end else if (step == 5'd16) begin
        done <= 1'b1;
        status <= STATUS_DONE;
        state <= IDLE;
      end
      default: begin
        step <= 5'd1;
        if (start) begin
          if (words[0] >= COMMANDS) begin
            done <= 1'b1;
            status <= STATUS_BAD_OPCODE;
          end else if (words[0] == 32'(OP_END)) begin
            done <= 1'b1;
            status <= STATUS_DONE;
          end else begin
            state <= FIELDS_LEGAL;
          end
        end
      end
    endcase
    if (reset) begin
      done <= 1'b0;
      state <= IDLE;
    end
  end

endmodule
