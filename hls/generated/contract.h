// Generated from the contract by `python -m gearshift_hls.generate`; do not edit.
#pragma once

#include <cstdint>

namespace gearshift {

constexpr std::uint32_t BEAT_BYTES = 16;
constexpr std::uint32_t CHANNEL_BYTES = 8;
constexpr std::uint32_t WORDS = 32;
constexpr std::uint32_t DESCRIPTOR_BYTES = 128;
constexpr std::uint32_t ALIGNMENT = 64;
constexpr std::uint32_t SCRATCH = 0x80000000u;
constexpr std::uint32_t HEAD_BYTES = 8;
constexpr std::uint32_t NORM_BYTES = 8;
constexpr std::uint32_t MAX_SHIFT = 62;
constexpr std::uint32_t MAX_ROWS = 1048576;
constexpr std::uint32_t VALUE_BITS = 10;
constexpr std::uint32_t RESIDUAL_BITS = 16;
constexpr std::uint32_t SCORE_BITS = 16;

enum class Opcode : std::uint32_t {
    End = 0,
    Norm = 1,
    Linear = 2,
    Attention = 3,
    Route = 4,
    Experts = 5,
    Convolution = 6,
    Resize = 7,
};

enum class Status : std::uint32_t {
    DONE = 1,
    BAD_PROGRAM = 2,
    BAD_OPCODE = 3,
    BAD_SIZE = 4,
    BAD_ADDRESS = 5,
    BAD_QUEUE = 6,
    BAD_BUS = 7,
};

enum class Format : std::uint32_t {
    INT8 = 0,
    UINT8 = 1,
    INT16 = 2,
    RESIDUAL = 3,
};

// By Format.
constexpr std::uint32_t ITEM_BYTES[4] = {1, 1, 2, 4};

// Words of a descriptor; word 0 is the opcode.
namespace norm {
constexpr int rows = 1;
constexpr int channels = 2;
constexpr int true_channels = 3;
constexpr int reciprocal = 4;
constexpr int root = 5;
constexpr int epsilon = 6;
constexpr int shift = 7;
constexpr int x = 8;
constexpr int parameters = 9;
constexpr int y = 10;
constexpr int normalised = 11;
}  // namespace norm
namespace linear {
constexpr int rows = 1;
constexpr int inputs = 2;
constexpr int outputs = 3;
constexpr int x_unsigned = 4;
constexpr int format = 5;
constexpr int gelu = 6;
constexpr int gelu_multiplier = 7;
constexpr int gelu_shift = 8;
constexpr int zero = 9;
constexpr int x = 10;
constexpr int weights = 11;
constexpr int residual = 12;
constexpr int y = 13;
}  // namespace linear
namespace attention {
constexpr int tokens = 1;
constexpr int heads = 2;
constexpr int head_dim = 3;
constexpr int x = 4;
constexpr int parameters = 5;
constexpr int y = 6;
}  // namespace attention
namespace route {
constexpr int tokens = 1;
constexpr int channels = 2;
constexpr int experts = 3;
constexpr int top_k = 4;
constexpr int multiplier = 5;
constexpr int shift = 6;
constexpr int prune = 7;
constexpr int normalised = 8;
constexpr int weights = 9;
constexpr int biases = 10;
constexpr int queues = 11;
}  // namespace route
namespace experts {
constexpr int tokens = 1;
constexpr int channels = 2;
constexpr int hidden = 3;
constexpr int experts = 4;
constexpr int gelu_multiplier = 5;
constexpr int gelu_shift = 6;
constexpr int zero = 7;
constexpr int x = 8;
constexpr int queues = 9;
constexpr int weights = 10;
constexpr int y = 11;
}  // namespace experts
namespace convolution {
constexpr int height = 1;
constexpr int width = 2;
constexpr int inputs = 3;
constexpr int outputs = 4;
constexpr int upsample = 5;
constexpr int x_unsigned = 6;
constexpr int x = 7;
constexpr int weights = 8;
constexpr int y = 9;
}  // namespace convolution
namespace resize {
constexpr int height = 1;
constexpr int width = 2;
constexpr int channels = 3;
constexpr int x = 4;
constexpr int y = 5;
}  // namespace resize

// Bytes from the start of a record.
namespace norm_record {
constexpr int offset = 0;
constexpr int gain = 4;
constexpr int bytes = 8;
}  // namespace norm_record
namespace channel_record {
constexpr int bias = 0;
constexpr int multiplier = 4;
constexpr int shift = 6;
constexpr int bytes = 8;
}  // namespace channel_record
namespace head_record {
constexpr int score_multiplier = 0;
constexpr int score_shift = 2;
constexpr int output_multiplier = 4;
constexpr int output_shift = 6;
constexpr int bytes = 8;
}  // namespace head_record
namespace entry_record {
constexpr int token = 0;
constexpr int score = 2;
constexpr int bytes = 4;
}  // namespace entry_record

// Byte offsets of the control registers.
namespace registers {
constexpr int control = 0;
constexpr int global_interrupt = 4;
constexpr int interrupt_enable = 8;
constexpr int interrupt_status = 12;
constexpr int return_value = 16;
constexpr int weights_0 = 24;
constexpr int weights_1 = 36;
constexpr int weights_2 = 48;
constexpr int weights_3 = 60;
constexpr int memory = 72;
constexpr int memory_bytes = 84;
constexpr int write_base = 92;
constexpr int program = 100;
constexpr int counters = 256;
}  // namespace registers

struct Zcu104Build {
    static constexpr int input_lanes = 32;
    static constexpr int output_lanes = 32;
    static constexpr int weight_ports = 4;
    static constexpr int input_bytes = 524288;
    static constexpr int hidden_bytes = 524288;
    static constexpr int scratch_bytes = 1048576;
    static constexpr int max_tokens = 2048;
    static constexpr int max_channels = 4096;
    static constexpr int max_norm_channels = 1024;
    static constexpr int max_experts = 64;
    static constexpr int max_top_k = 8;
    static constexpr int max_heads = 32;
    static constexpr int max_head_dim = 128;
    static constexpr int max_side = 1024;
    static constexpr int channel_multiple = 32;
    static constexpr int port_lanes = 8;
};

struct SmallBuild {
    static constexpr int input_lanes = 8;
    static constexpr int output_lanes = 8;
    static constexpr int weight_ports = 2;
    static constexpr int input_bytes = 8192;
    static constexpr int hidden_bytes = 4096;
    static constexpr int scratch_bytes = 16384;
    static constexpr int max_tokens = 128;
    static constexpr int max_channels = 256;
    static constexpr int max_norm_channels = 128;
    static constexpr int max_experts = 8;
    static constexpr int max_top_k = 4;
    static constexpr int max_heads = 8;
    static constexpr int max_head_dim = 32;
    static constexpr int max_side = 64;
    static constexpr int channel_multiple = 16;
    static constexpr int port_lanes = 4;
};

struct RtlBuild {
    static constexpr int input_lanes = 16;
    static constexpr int output_lanes = 16;
    static constexpr int weight_ports = 4;
    static constexpr int input_bytes = 16384;
    static constexpr int hidden_bytes = 8192;
    static constexpr int scratch_bytes = 32768;
    static constexpr int max_tokens = 128;
    static constexpr int max_channels = 512;
    static constexpr int max_norm_channels = 128;
    static constexpr int max_experts = 8;
    static constexpr int max_top_k = 4;
    static constexpr int max_heads = 8;
    static constexpr int max_head_dim = 64;
    static constexpr int max_side = 64;
    static constexpr int channel_multiple = 16;
    static constexpr int port_lanes = 4;
};

// What a field of a descriptor may hold.
struct Limit {
    std::uint32_t least;
    std::uint32_t most;
    bool lanes;  // a multiple of channel_multiple
};

constexpr int COMMANDS = 8;
constexpr int FIELDS = 13;  // of the command that has most; behind are zeros

// The limits of word `word` (1 .. FIELDS) of the command `opcode` (below COMMANDS).
template <class Build>
inline Limit limit(int opcode, int word) {
    static const Limit limits[COMMANDS][FIELDS] = {
        {  // End
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Norm
            {1, 0x100000u, false},  // rows
            {1, Build::max_norm_channels, true},  // channels
            {1, Build::max_norm_channels, false},  // true_channels
            {1, 0x4000000u, false},  // reciprocal
            {1, 0x10000u, false},  // root
            {1, 0xffffffffu, false},  // epsilon
            {0, 0x3eu, false},  // shift
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // parameters
            {0, 0xffffffffu, false},  // y
            {0, 0xffffffffu, false},  // normalised
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Linear
            {1, 0x100000u, false},  // rows
            {1, Build::max_channels, true},  // inputs
            {1, Build::max_channels, true},  // outputs
            {0, 0x1u, false},  // x_unsigned
            {0, 0x3u, false},  // format
            {0, 0x1u, false},  // gelu
            {0, 0xffffu, false},  // gelu_multiplier
            {0, 0x3eu, false},  // gelu_shift
            {0, 0xffu, false},  // zero
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // weights
            {0, 0xffffffffu, false},  // residual
            {0, 0xffffffffu, false},  // y
        },
        {  // Attention
            {1, Build::max_tokens, false},  // tokens
            {1, Build::max_heads, false},  // heads
            {1, Build::max_head_dim, true},  // head_dim
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // parameters
            {0, 0xffffffffu, false},  // y
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Route
            {1, Build::max_tokens, false},  // tokens
            {1, Build::max_norm_channels, true},  // channels
            {1, Build::max_experts, false},  // experts
            {1, Build::max_top_k, false},  // top_k
            {0, 0xffffu, false},  // multiplier
            {0, 0x3eu, false},  // shift
            {0, 0xffffu, false},  // prune
            {0, 0xffffffffu, false},  // normalised
            {0, 0xffffffffu, false},  // weights
            {0, 0xffffffffu, false},  // biases
            {0, 0xffffffffu, false},  // queues
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Experts
            {1, Build::max_tokens, false},  // tokens
            {1, Build::max_channels, true},  // channels
            {1, Build::max_channels, true},  // hidden
            {1, Build::max_experts, false},  // experts
            {0, 0xffffu, false},  // gelu_multiplier
            {0, 0x3eu, false},  // gelu_shift
            {0, 0xffu, false},  // zero
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // queues
            {0, 0xffffffffu, false},  // weights
            {0, 0xffffffffu, false},  // y
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Convolution
            {1, Build::max_side, false},  // height
            {1, Build::max_side, false},  // width
            {1, Build::max_channels, true},  // inputs
            {1, Build::max_channels, true},  // outputs
            {0, 0x1u, false},  // upsample
            {0, 0x1u, false},  // x_unsigned
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // weights
            {0, 0xffffffffu, false},  // y
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
        {  // Resize
            {1, Build::max_side, false},  // height
            {1, Build::max_side, false},  // width
            {1, Build::max_channels, true},  // channels
            {0, 0xffffffffu, false},  // x
            {0, 0xffffffffu, false},  // y
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
            {0, 0xffffffffu, false},
        },
    };
    return limits[opcode][word - 1];
}

// ReLU minus GELU at |x| = i / 32, 16 fraction bits, (177).
constexpr std::int32_t GELU_TABLE[177] = {
    0, 998, 1946, 2843, 3689, 4484, 5230, 5927, 6575, 7175,
    7728, 8234, 8696, 9113, 9487, 9819, 10110, 10362, 10576, 10753,
    10895, 11003, 11079, 11123, 11139, 11127, 11089, 11026, 10940, 10833,
    10706, 10560, 10398, 10220, 10027, 9822, 9606, 9380, 9146, 8903,
    8655, 8401, 8144, 7883, 7620, 7357, 7093, 6829, 6567, 6308,
    6050, 5796, 5546, 5301, 5060, 4824, 4594, 4370, 4152, 3940,
    3735, 3537, 3345, 3160, 2982, 2811, 2647, 2489, 2339, 2195,
    2058, 1927, 1803, 1684, 1572, 1466, 1366, 1271, 1181, 1097,
    1017, 943, 873, 807, 745, 688, 634, 584, 537, 494,
    453, 415, 381, 348, 318, 291, 265, 242, 220, 200,
    182, 165, 150, 136, 123, 111, 100, 91, 82, 74,
    66, 59, 53, 48, 43, 38, 34, 31, 27, 24,
    22, 19, 17, 15, 14, 12, 11, 9, 8, 7,
    6, 6, 5, 4, 4, 3, 3, 3, 2, 2,
    2, 2, 1, 1, 1, 1, 1, 1, 1, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0
};

// 2^-(i / 64), 16 fraction bits, (65).
constexpr std::int32_t POWER_TABLE[65] = {
    65536, 64830, 64132, 63441, 62757, 62081, 61413, 60751, 60097, 59449,
    58809, 58176, 57549, 56929, 56316, 55709, 55109, 54515, 53928, 53347,
    52773, 52204, 51642, 51085, 50535, 49991, 49452, 48920, 48393, 47871,
    47356, 46846, 46341, 45842, 45348, 44859, 44376, 43898, 43425, 42958,
    42495, 42037, 41584, 41136, 40693, 40255, 39821, 39392, 38968, 38548,
    38133, 37722, 37316, 36914, 36516, 36123, 35734, 35349, 34968, 34591,
    34219, 33850, 33486, 33125, 32768
};

// (1 + i / 64)^-1/2, 17 fraction bits, (193).
constexpr std::int32_t ROOT_TABLE[193] = {
    131072, 130060, 129071, 128104, 127159, 126234, 125329, 124443, 123576, 122727,
    121894, 121079, 120280, 119496, 118728, 117974, 117234, 116508, 115796, 115096,
    114409, 113734, 113071, 112419, 111779, 111149, 110530, 109921, 109322, 108732,
    108152, 107582, 107020, 106467, 105922, 105386, 104858, 104337, 103824, 103319,
    102821, 102331, 101847, 101370, 100899, 100435, 99978, 99526, 99081, 98642,
    98208, 97780, 97358, 96941, 96529, 96123, 95721, 95325, 94934, 94547,
    94165, 93787, 93415, 93046, 92682, 92322, 91966, 91615, 91267, 90923,
    90583, 90247, 89915, 89586, 89261, 88939, 88621, 88306, 87995, 87686,
    87381, 87079, 86781, 86485, 86192, 85903, 85616, 85332, 85051, 84772,
    84497, 84224, 83953, 83685, 83420, 83157, 82897, 82639, 82384, 82131,
    81880, 81632, 81385, 81141, 80899, 80660, 80422, 80187, 79953, 79722,
    79492, 79265, 79039, 78816, 78594, 78374, 78156, 77940, 77726, 77513,
    77302, 77093, 76885, 76679, 76475, 76273, 76072, 75872, 75674, 75478,
    75283, 75090, 74898, 74708, 74519, 74332, 74146, 73961, 73778, 73596,
    73415, 73236, 73058, 72881, 72706, 72532, 72359, 72187, 72016, 71847,
    71679, 71512, 71347, 71182, 71019, 70856, 70695, 70535, 70376, 70218,
    70061, 69905, 69750, 69596, 69444, 69292, 69141, 68991, 68842, 68694,
    68548, 68402, 68256, 68112, 67969, 67827, 67685, 67545, 67405, 67266,
    67128, 66991, 66855, 66719, 66585, 66451, 66318, 66186, 66054, 65923,
    65794, 65664, 65536
};

}  // namespace gearshift
