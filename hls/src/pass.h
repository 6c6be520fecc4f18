// What one pass over the array is: rows of inputs times a matrix of weights, tile by tile.
//
// Every command that multiplies is a sequence of passes; `*_pass` in linear.h, experts.h,
// convolution.h and attention.h say which. A pass is weight-stationary: for every output tile, for
// every input tile, all rows.
#pragma once

#include <cstdint>

#include "contract.h"
#include "softmax.h"

namespace gearshift {

enum class Weights {
    PORTS,   // from memory, each port its share of the output channels
    KEYS,    // rows of the input buffer, one an output lane
    VALUES,  // rows of the input buffer, one an input lane
};

enum class Inputs {
    ROWS,     // of the input buffer
    QUEUE,    // rows of the input buffer that the expert queue names
    MAP,      // 3x3 neighbourhoods of the map in the input buffer
    HIDDEN,   // rows of the hidden buffer
    SOFTMAX,  // softmax weights of a block of keys
};

enum class Result {
    STORE,   // to memory, row by row
    QUEUE,   // times the gate score, to the rows that the expert queue names
    HIDDEN,  // to the hidden buffer
    SCORES,  // of a block of keys: through the softmax
    VALUES,  // weighted values, kept until the last block of keys
};

struct Pass {
    std::uint32_t rows = 0;  // at most Build::max_tokens
    std::uint32_t side = 1;  // of the kernel: input tiles are side x side x channel_tiles
    std::uint32_t channel_tiles = 0;
    std::uint32_t output_tiles = 0;

    Weights weights = Weights::PORTS;
    std::uint32_t stream = 0;        // PORTS: address of the first port's stream
    std::uint32_t stream_bytes = 0;  // PORTS: from one port's stream to the next one's
    std::uint32_t weight_bytes = 0;  // KEYS, VALUES: where they begin in the input buffer
    std::uint32_t first_key = 0;     // KEYS, VALUES: the block
    std::uint32_t tokens = 0;        // KEYS, VALUES: how many there are

    Inputs inputs = Inputs::ROWS;
    bool is_unsigned = false;     // inputs are uint8
    std::uint32_t channels = 0;   // of a row of the buffer
    std::uint32_t width = 0;      // MAP: of a row
    std::uint32_t height = 0;     // MAP: of the whole map
    std::uint32_t first_row = 0;  // MAP: the row of the map that row 0 of the pass begins

    std::uint32_t sums = 0;  // SCORES: partial sums lie behind those of the weighted values

    Result result = Result::STORE;
    Format format = Format::INT8;
    bool gelu = false;
    std::uint16_t gelu_multiplier = 0;
    std::uint8_t gelu_shift = 0;
    std::uint8_t zero = 0;
    ScoreScale scale = {0, 0};  // SCORES: of the products; VALUES: of the result
    bool last_block = false;    // VALUES: of keys

    std::uint32_t y = 0;         // address of the first result
    std::uint32_t y_row = 0;     // bytes from one row of results to the next
    std::uint32_t residual = 0;  // format RESIDUAL: address of the rows that are added to

    // The pass takes keys or values, not a product's weights.
    bool attends() const { return weights != Weights::PORTS; }
    // Whether anything is written to memory.
    bool stores() const {
        return result == Result::STORE || result == Result::QUEUE ||
               (result == Result::VALUES && last_block);
    }
};

// Where a command is in its sequence of passes; each command says what it counts.
struct Step {
    std::uint32_t outer = 0;
    std::uint32_t middle = 0;
    std::uint32_t inner = 0;
};

// What a command's next pass is.
enum class Next {
    PASS,
    FINISHED,
    BAD_QUEUE,
};

inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) {
#pragma HLS INLINE
    return a < b ? a : b;
}

}  // namespace gearshift
