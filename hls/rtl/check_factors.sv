// The products of a command's sizes that its check needs, one at a time: the two factors of product
// `which`, and the number of the last one. A later product may build on earlier ones.
//
// Interface: combinational; `words` of legal sizes. Resources aimed at, not measured: 300 LUT.
module check_factors
  import gearshift_pkg::*;
  import check_pkg::*;
(
    input  logic [WORDS-1:0][31:0] words,
    input  logic [2:0]             which,
    input  size_t [PRODUCTS-1:0]   products,
    output logic [27:0]            left_factor,
    output logic [20:0]            right_factor,
    output logic [2:0]             last_product
);
  opcode_t opcode;
  assign opcode = opcode_t'(words[0][7:0]);

  logic unused;
  assign unused = ^{words, products};

  always_comb begin
    left_factor = '0;
    right_factor = '0;
    last_product = 3'd0;
    case (opcode)
      OP_NORM: begin  // values
        left_factor = words[WORD_NORM_ROWS][27:0];
        right_factor = words[WORD_NORM_CHANNELS][20:0];
      end
      OP_LINEAR: begin
        last_product = 3'd2;
        case (which)
          3'd0: begin  // values
            left_factor = words[WORD_LINEAR_ROWS][27:0];
            right_factor = words[WORD_LINEAR_OUTPUTS][20:0];
          end
          3'd1: begin  // bytes of x
            left_factor = words[WORD_LINEAR_ROWS][27:0];
            right_factor = words[WORD_LINEAR_INPUTS][20:0];
          end
          default: begin  // bytes of weights
            left_factor = words[WORD_LINEAR_INPUTS][27:0] + 28'(CHANNEL_BYTES);
            right_factor = words[WORD_LINEAR_OUTPUTS][20:0];
          end
        endcase
      end
      OP_ATTENTION: begin
        last_product = 3'd2;
        case (which)
          3'd0: begin  // heads of all tokens
            left_factor = words[WORD_ATTENTION_TOKENS][27:0];
            right_factor = words[WORD_ATTENTION_HEADS][20:0];
          end
          3'd1: begin  // values
            left_factor = products[0][27:0];
            right_factor = words[WORD_ATTENTION_HEAD_DIM][20:0];
          end
          default: begin  // keys of a head
            left_factor = words[WORD_ATTENTION_TOKENS][27:0];
            right_factor = words[WORD_ATTENTION_HEAD_DIM][20:0];
          end
        endcase
      end
      OP_ROUTE: begin
        last_product = 3'd2;
        case (which)
          3'd0: begin  // values
            left_factor = words[WORD_ROUTE_TOKENS][27:0];
            right_factor = words[WORD_ROUTE_CHANNELS][20:0];
          end
          3'd1: begin  // weights
            left_factor = words[WORD_ROUTE_EXPERTS][27:0];
            right_factor = words[WORD_ROUTE_CHANNELS][20:0];
          end
          default: begin  // bytes of the queues
            left_factor = queue_room(words[WORD_ROUTE_TOKENS][23:0]);
            right_factor = words[WORD_ROUTE_EXPERTS][20:0];
          end
        endcase
      end
      OP_EXPERTS: begin
        last_product = 3'd5;
        case (which)
          3'd0: begin  // values
            left_factor = words[WORD_EXPERTS_TOKENS][27:0];
            right_factor = words[WORD_EXPERTS_CHANNELS][20:0];
          end
          3'd1: begin  // hidden values
            left_factor = words[WORD_EXPERTS_TOKENS][27:0];
            right_factor = words[WORD_EXPERTS_HIDDEN][20:0];
          end
          3'd2: begin  // bytes of the queues
            left_factor = queue_room(words[WORD_EXPERTS_TOKENS][23:0]);
            right_factor = words[WORD_EXPERTS_EXPERTS][20:0];
          end
          3'd3: begin  // bytes of an expert's first product
            left_factor = words[WORD_EXPERTS_CHANNELS][27:0] + 28'(CHANNEL_BYTES);
            right_factor = words[WORD_EXPERTS_HIDDEN][20:0];
          end
          3'd4: begin  // of its second
            left_factor = words[WORD_EXPERTS_HIDDEN][27:0] + 28'(CHANNEL_BYTES);
            right_factor = words[WORD_EXPERTS_CHANNELS][20:0];
          end
          default: begin  // of all experts
            left_factor = products[3][27:0] + products[4][27:0];
            right_factor = words[WORD_EXPERTS_EXPERTS][20:0];
          end
        endcase
      end
      OP_CONVOLUTION: begin
        last_product = 3'd4;
        case (which)
          3'd0: begin  // pixels
            left_factor = words[WORD_CONVOLUTION_HEIGHT][27:0];
            right_factor = words[WORD_CONVOLUTION_WIDTH][20:0];
          end
          3'd1: begin  // bytes of an enlarged x
            left_factor = products[0][27:0];
            right_factor = words[WORD_CONVOLUTION_INPUTS][20:0];
          end
          3'd2: begin  // bytes of y
            left_factor = products[0][27:0];
            right_factor = words[WORD_CONVOLUTION_OUTPUTS][20:0];
          end
          3'd3: begin  // bytes of weights
            left_factor = {words[WORD_CONVOLUTION_INPUTS][24:0], 3'd0}
                + words[WORD_CONVOLUTION_INPUTS][27:0] + 28'(CHANNEL_BYTES);
            right_factor = words[WORD_CONVOLUTION_OUTPUTS][20:0];
          end
          default: begin  // bytes of a row
            left_factor = words[WORD_CONVOLUTION_INPUTS][27:0];
            right_factor = words[WORD_CONVOLUTION_WIDTH][20:0];
          end
        endcase
      end
      OP_RESIZE: begin
        last_product = 3'd1;
        case (which)
          3'd0: begin  // values of a row
            left_factor = words[WORD_RESIZE_CHANNELS][27:0];
            right_factor = words[WORD_RESIZE_WIDTH][20:0];
          end
          default: begin  // values
            left_factor = products[0][27:0];
            right_factor = words[WORD_RESIZE_HEIGHT][20:0];
          end
        endcase
      end
      default: ;
    endcase
  end
endmodule
