// What streams into the array: a row's values for the input lanes, and the weights of a tile.
//
// Interface: `Tile` counts through the tiles of a pass in the order of the weight streams; `Row`
// through its rows; `feed` reads one row's inputs of a tile from where the pass takes them;
// `load_port` and `load_key` move one cycle's share of a tile into the array's shadow registers.
// Initiation interval aimed at: 1. Resources aimed at, not measured: 3 DSP for addresses, 4,000 LUT
// for the choice between sources.
#pragma once

#include <hls_stream.h>

#include "array.h"
#include "buffers.h"
#include "pass.h"

namespace gearshift {

// One tile of a pass.
struct Tile {
    std::uint32_t output = 0;
    std::uint32_t tap_line = 0;
    std::uint32_t tap_column = 0;
    std::uint32_t channel = 0;

    void advance(const Pass& pass) {
#pragma HLS INLINE
        if (++channel < pass.channel_tiles) return;
        channel = 0;
        if (++tap_column < pass.side) return;
        tap_column = 0;
        if (++tap_line < pass.side) return;
        tap_line = 0;
        ++output;
    }
    // Of the tiles of its output tile.
    bool is_first() const { return tap_line == 0 && tap_column == 0 && channel == 0; }
    bool is_last(const Pass& pass) const {
        return tap_line + 1 == pass.side && tap_column + 1 == pass.side &&
               channel + 1 == pass.channel_tiles;
    }
    bool exists(const Pass& pass) const { return output < pass.output_tiles; }
};

// One row of a pass; of a map also its pixel.
struct Row {
    std::uint32_t index = 0;
    std::uint32_t line = 0;
    std::uint32_t column = 0;

    void advance(const Pass& pass) {
#pragma HLS INLINE
        ++index;
        if (++column < pass.width) return;
        column = 0;
        ++line;
    }
};

// Cycles that it takes to load a tile.
template <class Build>
inline std::uint32_t load_cycles(const Pass& pass, const Tile& tile) {
#pragma HLS INLINE
    if (pass.attends()) return Sizes<Build>::input_lanes;
    return Sizes<Build>::tile_beats + (tile.is_first() ? Sizes<Build>::parameter_beats : 0);
}

// The beat of one port that belongs to a cycle of a tile: parameters of an output tile come first.
template <class Build>
inline void load_port(int port, const Tile& tile, std::uint32_t cycle, hls::stream<Word>& stream,
                      Array<Build>& array) {
#pragma HLS INLINE
    constexpr std::uint32_t parameters = Sizes<Build>::parameter_beats;
    const Word word = stream.read();
    if (!tile.is_first())
        array.load_beat(port, cycle, word);
    else if (cycle < parameters)
        array.load_parameters(port, cycle, word);
    else
        array.load_beat(port, cycle - parameters, word);
}

// One key's or value's share of a tile. What stands behind the last key has the softmax weight 0.
template <class Build>
inline void load_key(const Pass& pass, const Tile& tile, std::uint32_t lane,
                     const Buffers<Build>& buffers, Array<Build>& array) {
#pragma HLS INLINE
    constexpr std::uint32_t lanes = Sizes<Build>::input_lanes;
    const bool of_values = pass.weights == Weights::VALUES;
    const std::uint32_t key = pass.first_key + lane;
    const std::uint32_t part = of_values ? tile.output : tile.channel;
    std::uint8_t values[lanes];
    read_lanes<int(lanes)>(buffers.input,
                           (pass.weight_bytes + key * pass.channels) / lanes + part, values);
    array.load_lanes(of_values, lane, values);
}

// Whether a neighbour of a pixel lies on the map.
inline bool on_map(const Pass& pass, const Tile& tile, const Row& row) {
#pragma HLS INLINE
    const std::uint32_t line = pass.first_row + row.line + tile.tap_line;
    const std::uint32_t column = row.column + tile.tap_column;
    return line >= 1 && line <= pass.height && column >= 1 && column <= pass.width;
}

template <class Build>
inline typename Array<Build>::Inputs feed(const Pass& pass, const Tile& tile, const Row& row,
                                          const Buffers<Build>& buffers) {
#pragma HLS INLINE
    constexpr int lanes = Build::input_lanes;
    std::uint32_t place = row.index;
    bool present = true;
    if (pass.inputs == Inputs::QUEUE) place = buffers.token[row.index];
    if (pass.inputs == Inputs::MAP) {
        present = on_map(pass, tile, row);
        place = (row.line + tile.tap_line) * pass.width + row.column + tile.tap_column - 1;
    }
    const std::uint32_t index = place * (pass.channels / lanes) + tile.channel;
    std::uint8_t bytes[lanes] = {};
    if (pass.inputs == Inputs::SOFTMAX) {
        for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
            bytes[lane] = buffers.softmax[row.index][lane];
        }
    } else if (pass.inputs == Inputs::HIDDEN) {
        read_lanes<lanes>(buffers.hidden, index, bytes);
    } else if (present) {
        read_lanes<lanes>(buffers.input, index, bytes);
    }
    typename Array<Build>::Inputs inputs;
    for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
        inputs[lane] = pass.is_unsigned ? std::int16_t(bytes[lane])
                                        : std::int16_t(std::int8_t(bytes[lane]));
    }
    return inputs;
}

}  // namespace gearshift
