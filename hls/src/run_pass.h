// One pass: weights in, rows through the array, results out, all three at the same time.
//
// Interface: `run_pass` streams a pass's weights from the ports, its inputs from the buffers, and
// its results to memory. The only call of the array's product stands here.
// Initiation interval aimed at: 1 row of a tile a cycle. A tile takes as many cycles as the pass
// has rows, but no fewer than loading a tile may take: 20 for Zcu104Build, 32 for keys and values.
// A result of 32 channels is stored in 2 (int8) or 4 (int16) cycles, a residual in 17 and a share
// of the latency of memory.
// Resources aimed at, not measured: array.h, feed.h, finish.h; streams of 512 words in block RAM,
// so that a port can be 30 tiles ahead of the array.
#pragma once

#include <hls_stream.h>

#include "array.h"
#include "buffers.h"
#include "contract.h"
#include "feed.h"
#include "finish.h"
#include "memory.h"
#include "pass.h"

namespace gearshift {

constexpr int PORTS = 4;  // for weights; a build may use fewer

// The weights of a pass that one port brings: one stretch of memory from front to back.
template <class Build>
void read_weights(int port, const Word* memory, const Pass pass, hls::stream<Word>& stream) {
    if (pass.attends() || port >= Build::weight_ports) return;
    const std::uint32_t tiles = pass.side * pass.side * pass.channel_tiles;
    const std::uint32_t beats = pass.output_tiles * (Sizes<Build>::parameter_beats +
                                                     tiles * Sizes<Build>::tile_beats);
    const std::uint32_t offset = std::uint32_t(port) * pass.stream_bytes;
    const std::uint32_t start = (pass.stream + offset) / BEAT_BYTES;
    for (std::uint32_t beat = 0; beat < beats; ++beat) {
#pragma HLS PIPELINE II = 1
        stream.write(memory[start + beat]);
    }
}

// One cycle's share of loading a tile.
template <class Build>
void load_cycle(const Pass& pass, const Tile& tile, std::uint32_t cycle,
                const Buffers<Build>& buffers, hls::stream<Word> weights[PORTS],
                Array<Build>& array) {
#pragma HLS INLINE
    if (cycle >= load_cycles<Build>(pass, tile)) return;
    if (pass.attends()) {
        load_key<Build>(pass, tile, cycle, buffers, array);
        return;
    }
    for (int port = 0; port < Build::weight_ports; ++port) {
#pragma HLS UNROLL
        load_port<Build>(port, tile, cycle, weights[port], array);
    }
}

// What a row's partial sums of a tile begin with, and where they are kept.
template <class Build>
inline typename Array<Build>::Sums sums_before(const Pass& pass, const Tile& tile, const Row& row,
                                               std::uint32_t place,
                                               const Buffers<Build>& buffers) {
#pragma HLS INLINE
    typename Array<Build>::Sums sums = buffers.sums[place];
    const bool of_values = pass.result == Result::VALUES;
    const bool none = of_values ? pass.first_key == 0 : tile.is_first();
    const unsigned fall = of_values ? buffers.fall[row.index] : 0;
    for (int lane = 0; lane < Build::output_lanes; ++lane) {
#pragma HLS UNROLL
        sums[lane] = none ? 0 : rescale(sums[lane], fall);
    }
    return sums;
}

// Rows through the array. While one tile multiplies, the next one is loaded.
template <class Build>
void compute(const Pass pass, Buffers<Build>& buffers, hls::stream<Word> weights[PORTS],
             hls::stream<Answer<Build>>& answers) {
    Array<Build> array;
    Tile tile, next;
    for (std::uint32_t cycle = 0; cycle < load_cycles<Build>(pass, next); ++cycle) {
#pragma HLS PIPELINE II = 1
        load_cycle<Build>(pass, next, cycle, buffers, weights, array);
    }
    const std::uint32_t longest = pass.attends() ? Sizes<Build>::input_lanes
                                                 : Sizes<Build>::tile_beats +
                                                       Sizes<Build>::parameter_beats;
    const std::uint32_t period = pass.rows > longest ? pass.rows : longest;
    Row row;
    std::uint32_t cycle = 0;
    while (tile.exists(pass)) {
#pragma HLS PIPELINE II = 1
// A partial sum is used again a period later at the earliest, and so is a pending result. Of the
// other buffers none is both read and written in a pass, but for a row's own softmax state.
#pragma HLS DEPENDENCE variable = buffers.sums type = inter false
#pragma HLS DEPENDENCE variable = buffers.pending type = inter false
#pragma HLS DEPENDENCE variable = buffers.state type = inter false
#pragma HLS DEPENDENCE variable = buffers.softmax type = inter false
#pragma HLS DEPENDENCE variable = buffers.fall type = inter false
#pragma HLS DEPENDENCE variable = buffers.hidden.bank type = inter false
        if (cycle == 0) {
            array.activate();
            next.advance(pass);
        }
        if (next.exists(pass)) load_cycle<Build>(pass, next, cycle, buffers, weights, array);
        if (cycle < pass.rows) {
            const typename Array<Build>::Sums products =
                array.multiply(feed<Build>(pass, tile, row, buffers));
            const bool of_values = pass.result == Result::VALUES;
            const std::uint32_t place =
                pass.sums + row.index + (of_values ? tile.output * pass.rows : 0);
            typename Array<Build>::Sums sums = sums_before<Build>(pass, tile, row, place, buffers);
            for (int lane = 0; lane < Build::output_lanes; ++lane) {
#pragma HLS UNROLL
                sums[lane] += products[lane];
            }
            buffers.sums[place] = sums;
            if (tile.is_last(pass))
                finish_row<Build>(pass, tile, row, sums, array, buffers, answers);
            row.advance(pass);
        }
        if (++cycle == period) {
            cycle = 0;
            row = Row();
            tile.advance(pass);
        }
    }
}

// Where a result goes, relative to row 0 and channel 0 of its matrix.
template <class Build>
inline std::uint32_t place_of(const Pass& pass, const Answer<Build>& answer, std::uint32_t group) {
#pragma HLS INLINE
    const std::uint32_t item = ITEM_BYTES[int(pass.format)];
    return answer.row * pass.y_row + group * Sizes<Build>::store_lanes * item;
}

// Results to memory.
template <class Build>
void store_rows(const Pass& pass, hls::stream<Answer<Build>>& answers, Word* memory,
                Word* scratch) {
    const std::uint32_t item = ITEM_BYTES[int(pass.format)], in_word = BEAT_BYTES / item;
    for (std::uint32_t group = 0; group < pass.output_tiles / Sizes<Build>::group; ++group) {
        for (std::uint32_t row = 0; row < pass.rows; ++row) {
            const Answer<Build> answer = answers.read();
            const std::uint32_t place = pass.y + place_of<Build>(pass, answer, group);
            for (std::uint32_t word = 0; word < Sizes<Build>::store_lanes / in_word; ++word) {
#pragma HLS PIPELINE II = 1
                Word packed;
                for (std::uint32_t each = 0; each < in_word; ++each) {
                    put(packed, int(each * item), int(item),
                        std::uint32_t(int(answer.values[word * in_word + each])));
                }
                write_word(memory, scratch, place + word * BEAT_BYTES, packed);
            }
        }
    }
}

// Results are added to the residual. Up to 32 rows are read, added to and written together, so that
// memory's latency is paid once for all of them; only as long as their numbers rise, so that none
// is read while a sum of it waits to be written.
template <class Build>
void add_rows(const Pass& pass, hls::stream<Answer<Build>>& answers, Word* memory, Word* scratch) {
    constexpr std::uint32_t together = 32, in_word = BEAT_BYTES / 4;
    constexpr std::uint32_t words = Sizes<Build>::store_lanes / in_word;
    Answer<Build> held[together];
    std::uint32_t places[together];
    Word residual[together * words];
    std::uint32_t left = pass.output_tiles / Sizes<Build>::group * pass.rows;
    std::uint32_t row = 0, group = 0;
    Answer<Build> next = answers.read();
    while (left > 0) {
        std::uint32_t count = 0;
        bool more = true;
        while (more) {
#pragma HLS PIPELINE II = 1
            const std::uint32_t before = next.row;
            held[count] = next;
            places[count] = place_of<Build>(pass, next, group);
            if (++row == pass.rows) {
                row = 0;
                ++group;
            }
            ++count;
            --left;
            if (left > 0) next = answers.read();
            more = left > 0 && count < together && next.row > before;
        }
        for (std::uint32_t index = 0; index < count * words; ++index) {
#pragma HLS PIPELINE II = 1
            residual[index] =
                read_word(memory, scratch,
                          pass.residual + places[index / words] + index % words * BEAT_BYTES);
        }
        for (std::uint32_t index = 0; index < count * words; ++index) {
#pragma HLS PIPELINE II = 1
            Word sums = residual[index];
            for (std::uint32_t each = 0; each < in_word; ++each) {
#pragma HLS UNROLL
                const std::int64_t value =
                    held[index / words].values[index % words * in_word + each];
                put(sums, int(4 * each), 4,
                    std::uint32_t(saturate<32>(value + get_int32(sums, int(4 * each)))));
            }
            write_word(memory, scratch,
                       pass.y + places[index / words] + index % words * BEAT_BYTES, sums);
        }
    }
}

// What a pass leaves in memory.
template <class Build>
void store(const Pass pass, hls::stream<Answer<Build>>& answers, Word* memory, Word* scratch) {
    if (!pass.stores()) return;
    if (pass.format == Format::RESIDUAL)
        add_rows<Build>(pass, answers, memory, scratch);
    else
        store_rows<Build>(pass, answers, memory, scratch);
}

template <class Build>
void run_pass(const Pass pass, const Word* weights_0, const Word* weights_1, const Word* weights_2,
              const Word* weights_3, Word* memory, Word* scratch, Buffers<Build>& buffers) {
#pragma HLS INLINE off
#pragma HLS DATAFLOW
    hls::stream<Word> weights[PORTS];
    hls::stream<Answer<Build>> answers;
#pragma HLS STREAM variable = weights depth = 512
#pragma HLS STREAM variable = answers depth = 64
    read_weights<Build>(0, weights_0, pass, weights[0]);
    read_weights<Build>(1, weights_1, pass, weights[1]);
    read_weights<Build>(2, weights_2, pass, weights[2]);
    read_weights<Build>(3, weights_3, pass, weights[3]);
    compute<Build>(pass, buffers, weights, answers);
    store<Build>(pass, answers, memory, scratch);
}

}  // namespace gearshift
