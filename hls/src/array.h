// The multiply array: `output_lanes` x `input_lanes` weights that stay while rows stream through.
//
// Interface: `load_beat` and `load_lanes` fill the shadow registers while the active ones are in
// use, `activate` moves the shadow registers into the active ones, `multiply` is one row's products
// with the active tile, summed over the input lanes. Inputs are 9 bits, so that int8 and uint8 both
// are exact. There is one array in the accelerator and one call of `multiply`.
// Initiation interval aimed at: 1, one row of one tile a cycle.
// Resources aimed at, not measured: one DSP a multiplier (1,024 for Zcu104Build), the adder trees
// in DSP cascades; 2 x 1,024 bytes of registers, the active ones those of the DSP.
#pragma once

#include <cstdint>
#include <hls_vector.h>

#include "buffers.h"
#include "contract.h"

namespace gearshift {

// Parameters of an output channel: y = (sum + bias) x multiplier / 2^shift.
struct Channel {
    std::int32_t bias;
    std::uint16_t multiplier;
    std::uint8_t shift;
};

template <class Build>
class Array {
  public:
    typedef hls::vector<std::int16_t, Build::input_lanes> Inputs;
    typedef hls::vector<std::int32_t, Build::output_lanes> Sums;

    // A beat of a port's channel parameters: two channels.
    void load_parameters(int port, std::uint32_t beat, const Word& word) {
#pragma HLS INLINE
        constexpr int channels = BEAT_BYTES / CHANNEL_BYTES;
        for (int each = 0; each < channels; ++each) {
#pragma HLS UNROLL
            const int place = each * int(CHANNEL_BYTES);
            Channel& channel = shadow_channels_[port * Build::port_lanes + beat * channels + each];
            channel.bias = get_int32(word, place + channel_record::bias);
            channel.multiplier =
                std::uint16_t(get_uint16(word, place + channel_record::multiplier));
            channel.shift = word[place + channel_record::shift];
        }
    }

    // A beat of a port's rows of a tile.
    void load_beat(int port, std::uint32_t beat, const Word& word) {
#pragma HLS INLINE
        for (std::uint32_t each = 0; each < BEAT_BYTES; ++each) {
#pragma HLS UNROLL
            const std::uint32_t place = beat * BEAT_BYTES + each;
            shadow_[place % Sizes<Build>::input_lanes][port * Build::port_lanes +
                                                       place / Sizes<Build>::input_lanes] =
                std::int8_t(word[each]);
        }
    }

    // All weights of one output lane, or of one input lane.
    void load_lanes(bool of_input, std::uint32_t lane,
                    const std::uint8_t weights[Build::input_lanes]) {
#pragma HLS INLINE
        for (int each = 0; each < Build::input_lanes; ++each) {
#pragma HLS UNROLL
            if (of_input)
                shadow_[lane][each] = std::int8_t(weights[each]);
            else
                shadow_[each][lane] = std::int8_t(weights[each]);
        }
    }

    // The tile that was loaded takes the place of the one in use. Parameters come with the first
    // tile of their output tile and stay in the shadow registers for the others.
    void activate() {
#pragma HLS INLINE
        for (int input = 0; input < Build::input_lanes; ++input) {
#pragma HLS UNROLL
            for (int output = 0; output < Build::output_lanes; ++output) {
#pragma HLS UNROLL
                active_[input][output] = shadow_[input][output];
            }
        }
        for (int output = 0; output < Build::output_lanes; ++output) {
#pragma HLS UNROLL
            channels_[output] = shadow_channels_[output];
        }
    }

    // Of every output lane, the sum over the input lanes.
    Sums multiply(const Inputs& inputs) const {
#pragma HLS INLINE
        std::int32_t sums[Build::output_lanes] = {};
#pragma HLS ARRAY_PARTITION variable = sums complete
        for (int input = 0; input < Build::input_lanes; ++input) {
#pragma HLS UNROLL
            for (int output = 0; output < Build::output_lanes; ++output) {
#pragma HLS UNROLL
                sums[output] += std::int32_t(inputs[input]) * active_[input][output];
            }
        }
        Sums result;
        for (int output = 0; output < Build::output_lanes; ++output) {
#pragma HLS UNROLL
            result[output] = sums[output];
        }
        return result;
    }

    const Channel& channel(int output) const { return channels_[output]; }

    // Every register by itself.
    Array() {
#pragma HLS ARRAY_PARTITION variable = shadow_ complete dim = 0
#pragma HLS ARRAY_PARTITION variable = active_ complete dim = 0
#pragma HLS ARRAY_PARTITION variable = shadow_channels_ complete
#pragma HLS ARRAY_PARTITION variable = channels_ complete
    }

  private:
    std::int8_t shadow_[Build::input_lanes][Build::output_lanes];
    std::int8_t active_[Build::input_lanes][Build::output_lanes];
    Channel shadow_channels_[Build::output_lanes];
    Channel channels_[Build::output_lanes];
};

}  // namespace gearshift
