// Generated from the contract by `python -m gearshift_hls.generate`; do not edit.
package gearshift_pkg;

  localparam int unsigned BEAT_BYTES = 16;
  localparam int unsigned CHANNEL_BYTES = 8;
  localparam int unsigned WORDS = 32;
  localparam int unsigned DESCRIPTOR_BYTES = 128;
  localparam int unsigned ALIGNMENT = 64;
  localparam int unsigned SCRATCH = 32'h80000000;
  localparam int unsigned HEAD_BYTES = 8;
  localparam int unsigned NORM_BYTES = 8;
  localparam int unsigned MAX_SHIFT = 62;
  localparam int unsigned MAX_ROWS = 1048576;
  localparam int unsigned VALUE_BITS = 10;
  localparam int unsigned RESIDUAL_BITS = 16;
  localparam int unsigned SCORE_BITS = 16;

  typedef enum logic [7:0] {
    OP_END = 0,
    OP_NORM = 1,
    OP_LINEAR = 2,
    OP_ATTENTION = 3,
    OP_ROUTE = 4,
    OP_EXPERTS = 5,
    OP_CONVOLUTION = 6,
    OP_RESIZE = 7
  } opcode_t;

  typedef enum logic [7:0] {
    STATUS_DONE = 1,
    STATUS_BAD_PROGRAM = 2,
    STATUS_BAD_OPCODE = 3,
    STATUS_BAD_SIZE = 4,
    STATUS_BAD_ADDRESS = 5,
    STATUS_BAD_QUEUE = 6,
    STATUS_BAD_BUS = 7
  } status_t;

  typedef enum logic [7:0] {
    FORMAT_INT8 = 0,
    FORMAT_UINT8 = 1,
    FORMAT_INT16 = 2,
    FORMAT_RESIDUAL = 3
  } format_t;

  typedef enum logic [7:0] {
    COUNTER_CYCLES = 0,
    COUNTER_NORM = 1,
    COUNTER_LINEAR = 2,
    COUNTER_ATTENTION = 3,
    COUNTER_ROUTE = 4,
    COUNTER_EXPERTS = 5,
    COUNTER_CONVOLUTION = 6,
    COUNTER_RESIZE = 7,
    COUNTER_ARRAY_BUSY = 8,
    COUNTER_ARRAY_WAITS_FOR_WEIGHTS = 9,
    COUNTER_ARRAY_WAITS_FOR_DATA = 10,
    COUNTER_MEMORY_WAITS = 11,
    COUNTER_MEMORY_READ = 12,
    COUNTER_MEMORY_WRITTEN = 13,
    COUNTER_WEIGHTS_0_READ = 14,
    COUNTER_WEIGHTS_1_READ = 15,
    COUNTER_WEIGHTS_2_READ = 16,
    COUNTER_WEIGHTS_3_READ = 17,
    COUNTER_SCRATCH_READ = 18,
    COUNTER_SCRATCH_WRITTEN = 19
  } counter_t;

  localparam int unsigned COUNTERS = 20;

  // By format.
  localparam int unsigned ITEM_BYTES [4] = '{1, 1, 2, 4};

  localparam int unsigned WORD_NORM_ROWS = 1;
  localparam int unsigned WORD_NORM_CHANNELS = 2;
  localparam int unsigned WORD_NORM_TRUE_CHANNELS = 3;
  localparam int unsigned WORD_NORM_RECIPROCAL = 4;
  localparam int unsigned WORD_NORM_ROOT = 5;
  localparam int unsigned WORD_NORM_EPSILON = 6;
  localparam int unsigned WORD_NORM_SHIFT = 7;
  localparam int unsigned WORD_NORM_X = 8;
  localparam int unsigned WORD_NORM_PARAMETERS = 9;
  localparam int unsigned WORD_NORM_Y = 10;
  localparam int unsigned WORD_NORM_NORMALISED = 11;

  localparam int unsigned WORD_LINEAR_ROWS = 1;
  localparam int unsigned WORD_LINEAR_INPUTS = 2;
  localparam int unsigned WORD_LINEAR_OUTPUTS = 3;
  localparam int unsigned WORD_LINEAR_X_UNSIGNED = 4;
  localparam int unsigned WORD_LINEAR_FORMAT = 5;
  localparam int unsigned WORD_LINEAR_GELU = 6;
  localparam int unsigned WORD_LINEAR_GELU_MULTIPLIER = 7;
  localparam int unsigned WORD_LINEAR_GELU_SHIFT = 8;
  localparam int unsigned WORD_LINEAR_ZERO = 9;
  localparam int unsigned WORD_LINEAR_X = 10;
  localparam int unsigned WORD_LINEAR_WEIGHTS = 11;
  localparam int unsigned WORD_LINEAR_RESIDUAL = 12;
  localparam int unsigned WORD_LINEAR_Y = 13;

  localparam int unsigned WORD_ATTENTION_TOKENS = 1;
  localparam int unsigned WORD_ATTENTION_HEADS = 2;
  localparam int unsigned WORD_ATTENTION_HEAD_DIM = 3;
  localparam int unsigned WORD_ATTENTION_X = 4;
  localparam int unsigned WORD_ATTENTION_PARAMETERS = 5;
  localparam int unsigned WORD_ATTENTION_Y = 6;

  localparam int unsigned WORD_ROUTE_TOKENS = 1;
  localparam int unsigned WORD_ROUTE_CHANNELS = 2;
  localparam int unsigned WORD_ROUTE_EXPERTS = 3;
  localparam int unsigned WORD_ROUTE_TOP_K = 4;
  localparam int unsigned WORD_ROUTE_MULTIPLIER = 5;
  localparam int unsigned WORD_ROUTE_SHIFT = 6;
  localparam int unsigned WORD_ROUTE_PRUNE = 7;
  localparam int unsigned WORD_ROUTE_NORMALISED = 8;
  localparam int unsigned WORD_ROUTE_WEIGHTS = 9;
  localparam int unsigned WORD_ROUTE_BIASES = 10;
  localparam int unsigned WORD_ROUTE_QUEUES = 11;

  localparam int unsigned WORD_EXPERTS_TOKENS = 1;
  localparam int unsigned WORD_EXPERTS_CHANNELS = 2;
  localparam int unsigned WORD_EXPERTS_HIDDEN = 3;
  localparam int unsigned WORD_EXPERTS_EXPERTS = 4;
  localparam int unsigned WORD_EXPERTS_GELU_MULTIPLIER = 5;
  localparam int unsigned WORD_EXPERTS_GELU_SHIFT = 6;
  localparam int unsigned WORD_EXPERTS_ZERO = 7;
  localparam int unsigned WORD_EXPERTS_X = 8;
  localparam int unsigned WORD_EXPERTS_QUEUES = 9;
  localparam int unsigned WORD_EXPERTS_WEIGHTS = 10;
  localparam int unsigned WORD_EXPERTS_Y = 11;

  localparam int unsigned WORD_CONVOLUTION_HEIGHT = 1;
  localparam int unsigned WORD_CONVOLUTION_WIDTH = 2;
  localparam int unsigned WORD_CONVOLUTION_INPUTS = 3;
  localparam int unsigned WORD_CONVOLUTION_OUTPUTS = 4;
  localparam int unsigned WORD_CONVOLUTION_UPSAMPLE = 5;
  localparam int unsigned WORD_CONVOLUTION_X_UNSIGNED = 6;
  localparam int unsigned WORD_CONVOLUTION_X = 7;
  localparam int unsigned WORD_CONVOLUTION_WEIGHTS = 8;
  localparam int unsigned WORD_CONVOLUTION_Y = 9;

  localparam int unsigned WORD_RESIZE_HEIGHT = 1;
  localparam int unsigned WORD_RESIZE_WIDTH = 2;
  localparam int unsigned WORD_RESIZE_CHANNELS = 3;
  localparam int unsigned WORD_RESIZE_X = 4;
  localparam int unsigned WORD_RESIZE_Y = 5;

  localparam int unsigned NORM_RECORD_OFFSET = 0;
  localparam int unsigned NORM_RECORD_GAIN = 4;
  localparam int unsigned NORM_RECORD_BYTES = 8;

  localparam int unsigned CHANNEL_RECORD_BIAS = 0;
  localparam int unsigned CHANNEL_RECORD_MULTIPLIER = 4;
  localparam int unsigned CHANNEL_RECORD_SHIFT = 6;
  localparam int unsigned CHANNEL_RECORD_BYTES = 8;

  localparam int unsigned HEAD_RECORD_SCORE_MULTIPLIER = 0;
  localparam int unsigned HEAD_RECORD_SCORE_SHIFT = 2;
  localparam int unsigned HEAD_RECORD_OUTPUT_MULTIPLIER = 4;
  localparam int unsigned HEAD_RECORD_OUTPUT_SHIFT = 6;
  localparam int unsigned HEAD_RECORD_BYTES = 8;

  localparam int unsigned ENTRY_RECORD_TOKEN = 0;
  localparam int unsigned ENTRY_RECORD_SCORE = 2;
  localparam int unsigned ENTRY_RECORD_BYTES = 4;

  localparam int unsigned REGISTER_CONTROL = 0;
  localparam int unsigned REGISTER_GLOBAL_INTERRUPT = 4;
  localparam int unsigned REGISTER_INTERRUPT_ENABLE = 8;
  localparam int unsigned REGISTER_INTERRUPT_STATUS = 12;
  localparam int unsigned REGISTER_RETURN_VALUE = 16;
  localparam int unsigned REGISTER_WEIGHTS_0 = 24;
  localparam int unsigned REGISTER_WEIGHTS_1 = 36;
  localparam int unsigned REGISTER_WEIGHTS_2 = 48;
  localparam int unsigned REGISTER_WEIGHTS_3 = 60;
  localparam int unsigned REGISTER_MEMORY = 72;
  localparam int unsigned REGISTER_MEMORY_BYTES = 84;
  localparam int unsigned REGISTER_WRITE_BASE = 92;
  localparam int unsigned REGISTER_PROGRAM = 100;
  localparam int unsigned REGISTER_COUNTERS = 256;

  typedef struct packed {
    int unsigned input_lanes;
    int unsigned output_lanes;
    int unsigned weight_ports;
    int unsigned input_bytes;
    int unsigned hidden_bytes;
    int unsigned scratch_bytes;
    int unsigned max_tokens;
    int unsigned max_channels;
    int unsigned max_norm_channels;
    int unsigned max_experts;
    int unsigned max_top_k;
    int unsigned max_heads;
    int unsigned max_head_dim;
    int unsigned max_side;
    int unsigned channel_multiple;
    int unsigned port_lanes;
  } build_t;

  localparam build_t ZCU104_BUILD = '{
    input_lanes: 32,
    output_lanes: 32,
    weight_ports: 4,
    input_bytes: 524288,
    hidden_bytes: 524288,
    scratch_bytes: 1048576,
    max_tokens: 2048,
    max_channels: 4096,
    max_norm_channels: 1024,
    max_experts: 64,
    max_top_k: 8,
    max_heads: 32,
    max_head_dim: 128,
    max_side: 1024,
    channel_multiple: 32,
    port_lanes: 8
  };

  localparam build_t SMALL_BUILD = '{
    input_lanes: 8,
    output_lanes: 8,
    weight_ports: 2,
    input_bytes: 8192,
    hidden_bytes: 4096,
    scratch_bytes: 16384,
    max_tokens: 128,
    max_channels: 256,
    max_norm_channels: 128,
    max_experts: 8,
    max_top_k: 4,
    max_heads: 8,
    max_head_dim: 32,
    max_side: 64,
    channel_multiple: 16,
    port_lanes: 4
  };

  localparam build_t RTL_BUILD = '{
    input_lanes: 16,
    output_lanes: 16,
    weight_ports: 4,
    input_bytes: 16384,
    hidden_bytes: 8192,
    scratch_bytes: 32768,
    max_tokens: 128,
    max_channels: 512,
    max_norm_channels: 128,
    max_experts: 8,
    max_top_k: 4,
    max_heads: 8,
    max_head_dim: 64,
    max_side: 64,
    channel_multiple: 16,
    port_lanes: 4
  };

  // What a field of a descriptor may hold; `lanes`: a multiple of channel_multiple.
  typedef struct packed {
    logic [31:0] least;
    logic [31:0] most;
    logic lanes;
  } limit_t;

  localparam int unsigned COMMANDS = 8;
  localparam int unsigned FIELDS = 13;

  // The limits of word `place` of the command `opcode`.
  function automatic limit_t limit(build_t given, logic [7:0] opcode, logic [4:0] place);
    case ({opcode, 3'b0, place})
      16'h0101: return '{32'd1, 32'h100000, 1'b0};  // norm rows
      16'h0102: return '{32'd1, given.max_norm_channels, 1'b1};  // norm channels
      16'h0103: return '{32'd1, given.max_norm_channels, 1'b0};  // norm true_channels
      16'h0104: return '{32'd1, 32'h4000000, 1'b0};  // norm reciprocal
      16'h0105: return '{32'd1, 32'h10000, 1'b0};  // norm root
      16'h0106: return '{32'd1, 32'hffffffff, 1'b0};  // norm epsilon
      16'h0107: return '{32'd0, 32'h3e, 1'b0};  // norm shift
      16'h0108: return '{32'd0, 32'hffffffff, 1'b0};  // norm x
      16'h0109: return '{32'd0, 32'hffffffff, 1'b0};  // norm parameters
      16'h010a: return '{32'd0, 32'hffffffff, 1'b0};  // norm y
      16'h010b: return '{32'd0, 32'hffffffff, 1'b0};  // norm normalised
      16'h0201: return '{32'd1, 32'h100000, 1'b0};  // linear rows
      16'h0202: return '{32'd1, given.max_channels, 1'b1};  // linear inputs
      16'h0203: return '{32'd1, given.max_channels, 1'b1};  // linear outputs
      16'h0204: return '{32'd0, 32'h1, 1'b0};  // linear x_unsigned
      16'h0205: return '{32'd0, 32'h3, 1'b0};  // linear format
      16'h0206: return '{32'd0, 32'h1, 1'b0};  // linear gelu
      16'h0207: return '{32'd0, 32'hffff, 1'b0};  // linear gelu_multiplier
      16'h0208: return '{32'd0, 32'h3e, 1'b0};  // linear gelu_shift
      16'h0209: return '{32'd0, 32'hff, 1'b0};  // linear zero
      16'h020a: return '{32'd0, 32'hffffffff, 1'b0};  // linear x
      16'h020b: return '{32'd0, 32'hffffffff, 1'b0};  // linear weights
      16'h020c: return '{32'd0, 32'hffffffff, 1'b0};  // linear residual
      16'h020d: return '{32'd0, 32'hffffffff, 1'b0};  // linear y
      16'h0301: return '{32'd1, given.max_tokens, 1'b0};  // attention tokens
      16'h0302: return '{32'd1, given.max_heads, 1'b0};  // attention heads
      16'h0303: return '{32'd1, given.max_head_dim, 1'b1};  // attention head_dim
      16'h0304: return '{32'd0, 32'hffffffff, 1'b0};  // attention x
      16'h0305: return '{32'd0, 32'hffffffff, 1'b0};  // attention parameters
      16'h0306: return '{32'd0, 32'hffffffff, 1'b0};  // attention y
      16'h0401: return '{32'd1, given.max_tokens, 1'b0};  // route tokens
      16'h0402: return '{32'd1, given.max_norm_channels, 1'b1};  // route channels
      16'h0403: return '{32'd1, given.max_experts, 1'b0};  // route experts
      16'h0404: return '{32'd1, given.max_top_k, 1'b0};  // route top_k
      16'h0405: return '{32'd0, 32'hffff, 1'b0};  // route multiplier
      16'h0406: return '{32'd0, 32'h3e, 1'b0};  // route shift
      16'h0407: return '{32'd0, 32'hffff, 1'b0};  // route prune
      16'h0408: return '{32'd0, 32'hffffffff, 1'b0};  // route normalised
      16'h0409: return '{32'd0, 32'hffffffff, 1'b0};  // route weights
      16'h040a: return '{32'd0, 32'hffffffff, 1'b0};  // route biases
      16'h040b: return '{32'd0, 32'hffffffff, 1'b0};  // route queues
      16'h0501: return '{32'd1, given.max_tokens, 1'b0};  // experts tokens
      16'h0502: return '{32'd1, given.max_channels, 1'b1};  // experts channels
      16'h0503: return '{32'd1, given.max_channels, 1'b1};  // experts hidden
      16'h0504: return '{32'd1, given.max_experts, 1'b0};  // experts experts
      16'h0505: return '{32'd0, 32'hffff, 1'b0};  // experts gelu_multiplier
      16'h0506: return '{32'd0, 32'h3e, 1'b0};  // experts gelu_shift
      16'h0507: return '{32'd0, 32'hff, 1'b0};  // experts zero
      16'h0508: return '{32'd0, 32'hffffffff, 1'b0};  // experts x
      16'h0509: return '{32'd0, 32'hffffffff, 1'b0};  // experts queues
      16'h050a: return '{32'd0, 32'hffffffff, 1'b0};  // experts weights
      16'h050b: return '{32'd0, 32'hffffffff, 1'b0};  // experts y
      16'h0601: return '{32'd1, given.max_side, 1'b0};  // convolution height
      16'h0602: return '{32'd1, given.max_side, 1'b0};  // convolution width
      16'h0603: return '{32'd1, given.max_channels, 1'b1};  // convolution inputs
      16'h0604: return '{32'd1, given.max_channels, 1'b1};  // convolution outputs
      16'h0605: return '{32'd0, 32'h1, 1'b0};  // convolution upsample
      16'h0606: return '{32'd0, 32'h1, 1'b0};  // convolution x_unsigned
      16'h0607: return '{32'd0, 32'hffffffff, 1'b0};  // convolution x
      16'h0608: return '{32'd0, 32'hffffffff, 1'b0};  // convolution weights
      16'h0609: return '{32'd0, 32'hffffffff, 1'b0};  // convolution y
      16'h0701: return '{32'd1, given.max_side, 1'b0};  // resize height
      16'h0702: return '{32'd1, given.max_side, 1'b0};  // resize width
      16'h0703: return '{32'd1, given.max_channels, 1'b1};  // resize channels
      16'h0704: return '{32'd0, 32'hffffffff, 1'b0};  // resize x
      16'h0705: return '{32'd0, 32'hffffffff, 1'b0};  // resize y
      default: return '{32'd0, 32'hffffffff, 1'b0};
    endcase
  endfunction

  // ReLU minus GELU at |x| = i / 32, 16 fraction bits, (177).
  localparam logic [13:0] GELU_TABLE [177] = '{
    14'd0, 14'd998, 14'd1946, 14'd2843, 14'd3689, 14'd4484, 14'd5230, 14'd5927, 14'd6575, 14'd7175,
    14'd7728, 14'd8234, 14'd8696, 14'd9113, 14'd9487, 14'd9819, 14'd10110, 14'd10362, 14'd10576, 14'd10753,
    14'd10895, 14'd11003, 14'd11079, 14'd11123, 14'd11139, 14'd11127, 14'd11089, 14'd11026, 14'd10940, 14'd10833,
    14'd10706, 14'd10560, 14'd10398, 14'd10220, 14'd10027, 14'd9822, 14'd9606, 14'd9380, 14'd9146, 14'd8903,
    14'd8655, 14'd8401, 14'd8144, 14'd7883, 14'd7620, 14'd7357, 14'd7093, 14'd6829, 14'd6567, 14'd6308,
    14'd6050, 14'd5796, 14'd5546, 14'd5301, 14'd5060, 14'd4824, 14'd4594, 14'd4370, 14'd4152, 14'd3940,
    14'd3735, 14'd3537, 14'd3345, 14'd3160, 14'd2982, 14'd2811, 14'd2647, 14'd2489, 14'd2339, 14'd2195,
    14'd2058, 14'd1927, 14'd1803, 14'd1684, 14'd1572, 14'd1466, 14'd1366, 14'd1271, 14'd1181, 14'd1097,
    14'd1017, 14'd943, 14'd873, 14'd807, 14'd745, 14'd688, 14'd634, 14'd584, 14'd537, 14'd494,
    14'd453, 14'd415, 14'd381, 14'd348, 14'd318, 14'd291, 14'd265, 14'd242, 14'd220, 14'd200,
    14'd182, 14'd165, 14'd150, 14'd136, 14'd123, 14'd111, 14'd100, 14'd91, 14'd82, 14'd74,
    14'd66, 14'd59, 14'd53, 14'd48, 14'd43, 14'd38, 14'd34, 14'd31, 14'd27, 14'd24,
    14'd22, 14'd19, 14'd17, 14'd15, 14'd14, 14'd12, 14'd11, 14'd9, 14'd8, 14'd7,
    14'd6, 14'd6, 14'd5, 14'd4, 14'd4, 14'd3, 14'd3, 14'd3, 14'd2, 14'd2,
    14'd2, 14'd2, 14'd1, 14'd1, 14'd1, 14'd1, 14'd1, 14'd1, 14'd1, 14'd0,
    14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0,
    14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0,
    14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0, 14'd0
  };

  // 2^-(i / 64), 16 fraction bits, (65).
  localparam logic [16:0] POWER_TABLE [65] = '{
    17'd65536, 17'd64830, 17'd64132, 17'd63441, 17'd62757, 17'd62081, 17'd61413, 17'd60751, 17'd60097, 17'd59449,
    17'd58809, 17'd58176, 17'd57549, 17'd56929, 17'd56316, 17'd55709, 17'd55109, 17'd54515, 17'd53928, 17'd53347,
    17'd52773, 17'd52204, 17'd51642, 17'd51085, 17'd50535, 17'd49991, 17'd49452, 17'd48920, 17'd48393, 17'd47871,
    17'd47356, 17'd46846, 17'd46341, 17'd45842, 17'd45348, 17'd44859, 17'd44376, 17'd43898, 17'd43425, 17'd42958,
    17'd42495, 17'd42037, 17'd41584, 17'd41136, 17'd40693, 17'd40255, 17'd39821, 17'd39392, 17'd38968, 17'd38548,
    17'd38133, 17'd37722, 17'd37316, 17'd36914, 17'd36516, 17'd36123, 17'd35734, 17'd35349, 17'd34968, 17'd34591,
    17'd34219, 17'd33850, 17'd33486, 17'd33125, 17'd32768
  };

  // (1 + i / 64)^-1/2, 17 fraction bits, (193).
  localparam logic [17:0] ROOT_TABLE [193] = '{
    18'd131072, 18'd130060, 18'd129071, 18'd128104, 18'd127159, 18'd126234, 18'd125329, 18'd124443, 18'd123576, 18'd122727,
    18'd121894, 18'd121079, 18'd120280, 18'd119496, 18'd118728, 18'd117974, 18'd117234, 18'd116508, 18'd115796, 18'd115096,
    18'd114409, 18'd113734, 18'd113071, 18'd112419, 18'd111779, 18'd111149, 18'd110530, 18'd109921, 18'd109322, 18'd108732,
    18'd108152, 18'd107582, 18'd107020, 18'd106467, 18'd105922, 18'd105386, 18'd104858, 18'd104337, 18'd103824, 18'd103319,
    18'd102821, 18'd102331, 18'd101847, 18'd101370, 18'd100899, 18'd100435, 18'd99978, 18'd99526, 18'd99081, 18'd98642,
    18'd98208, 18'd97780, 18'd97358, 18'd96941, 18'd96529, 18'd96123, 18'd95721, 18'd95325, 18'd94934, 18'd94547,
    18'd94165, 18'd93787, 18'd93415, 18'd93046, 18'd92682, 18'd92322, 18'd91966, 18'd91615, 18'd91267, 18'd90923,
    18'd90583, 18'd90247, 18'd89915, 18'd89586, 18'd89261, 18'd88939, 18'd88621, 18'd88306, 18'd87995, 18'd87686,
    18'd87381, 18'd87079, 18'd86781, 18'd86485, 18'd86192, 18'd85903, 18'd85616, 18'd85332, 18'd85051, 18'd84772,
    18'd84497, 18'd84224, 18'd83953, 18'd83685, 18'd83420, 18'd83157, 18'd82897, 18'd82639, 18'd82384, 18'd82131,
    18'd81880, 18'd81632, 18'd81385, 18'd81141, 18'd80899, 18'd80660, 18'd80422, 18'd80187, 18'd79953, 18'd79722,
    18'd79492, 18'd79265, 18'd79039, 18'd78816, 18'd78594, 18'd78374, 18'd78156, 18'd77940, 18'd77726, 18'd77513,
    18'd77302, 18'd77093, 18'd76885, 18'd76679, 18'd76475, 18'd76273, 18'd76072, 18'd75872, 18'd75674, 18'd75478,
    18'd75283, 18'd75090, 18'd74898, 18'd74708, 18'd74519, 18'd74332, 18'd74146, 18'd73961, 18'd73778, 18'd73596,
    18'd73415, 18'd73236, 18'd73058, 18'd72881, 18'd72706, 18'd72532, 18'd72359, 18'd72187, 18'd72016, 18'd71847,
    18'd71679, 18'd71512, 18'd71347, 18'd71182, 18'd71019, 18'd70856, 18'd70695, 18'd70535, 18'd70376, 18'd70218,
    18'd70061, 18'd69905, 18'd69750, 18'd69596, 18'd69444, 18'd69292, 18'd69141, 18'd68991, 18'd68842, 18'd68694,
    18'd68548, 18'd68402, 18'd68256, 18'd68112, 18'd67969, 18'd67827, 18'd67685, 18'd67545, 18'd67405, 18'd67266,
    18'd67128, 18'd66991, 18'd66855, 18'd66719, 18'd66585, 18'd66451, 18'd66318, 18'd66186, 18'd66054, 18'd65923,
    18'd65794, 18'd65664, 18'd65536
  };

endpackage
