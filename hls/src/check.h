// Whether a descriptor is legal: the same answer as gearshift_hls/descriptor.py `check` for every
// pattern of bits.
//
// Interface: the 32 words of a descriptor, the end of memory, the end of constant memory -> DONE or
// the error that the program ends with. Nothing is read or written.
// Initiation interval aimed at: once a descriptor, about 40 cycles beside the thousands of a
// command; one instance. Products are formed of legal sizes only, so that 64 bits hold them.
// Resources aimed at, not measured: 8 DSP, 2,000 LUT; the limits in LUT ROM.
#pragma once

#include <cstdint>

#include "contract.h"

namespace gearshift {

// Of a region: constants lie in constant memory; the rest anywhere, but for writing behind it.
enum class Access { CONSTANT, READ, WRITE };

// A range of bytes that a command touches.
struct Region {
    std::uint64_t address;
    std::uint64_t nbytes;
    Access access;
    bool residual;  // may be replaced in place
};

// The regions of one command; four at most.
struct Regions {
    Region list[4];
    int count = 0;

    void add(std::uint32_t address, std::uint64_t nbytes, Access access, bool residual = false) {
#pragma HLS INLINE
        list[count] = {address, nbytes, access, residual};
        ++count;
    }
};

inline std::uint64_t align(std::uint64_t nbytes) {
#pragma HLS INLINE
    return (nbytes + ALIGNMENT - 1) & ~std::uint64_t(ALIGNMENT - 1);
}

// Bytes from the start of the queues to those of `expert`.
inline std::uint64_t queue_offset(std::uint32_t expert, std::uint32_t experts,
                                  std::uint32_t tokens) {
#pragma HLS INLINE
    return align(4 * std::uint64_t(experts)) + expert * align(4 * std::uint64_t(tokens));
}

inline std::uint64_t queue_bytes(std::uint32_t experts, std::uint32_t tokens) {
#pragma HLS INLINE
    return queue_offset(experts, experts, tokens);
}

// A product's weight streams, all ports together.
inline std::uint64_t product_bytes(std::uint64_t inputs, std::uint64_t outputs) {
#pragma HLS INLINE
    return outputs * (CHANNEL_BYTES + inputs);
}

namespace checking {

// Every field within its limits.
template <class Build>
inline bool fields_legal(const std::uint32_t words[WORDS]) {
    for (int word = 1; word <= FIELDS; ++word) {
#pragma HLS PIPELINE II = 1
        const Limit limits = limit<Build>(int(words[0]), word);
        const std::uint32_t value = words[word];
        if (value < limits.least || value > limits.most) return false;
        if (limits.lanes && value % std::uint32_t(Build::channel_multiple) != 0) return false;
    }
    return true;
}

// Whether the build's buffers hold a command whose fields are within their limits.
template <class Build>
inline bool fits(const std::uint32_t words[WORDS]) {
    switch (Opcode(words[0])) {
        case Opcode::Norm:
            return words[norm::true_channels] <= words[norm::channels];
        case Opcode::Linear:
            return words[linear::inputs] <= std::uint32_t(Build::input_bytes) &&
                   !(words[linear::gelu] != 0 && words[linear::format] > 1);
        case Opcode::Attention:
            return 2 * words[attention::tokens] * words[attention::head_dim] <=
                   std::uint32_t(Build::input_bytes);
        case Opcode::Route:
            return words[route::top_k] <= words[route::experts];
        case Opcode::Experts:
            return words[experts::tokens] * words[experts::channels] <=
                       std::uint32_t(Build::input_bytes) &&
                   words[experts::tokens] * words[experts::hidden] <=
                       std::uint32_t(Build::hidden_bytes);
        case Opcode::Convolution: {
            const std::uint32_t height = words[convolution::height];
            const std::uint32_t width = words[convolution::width];
            const bool even = words[convolution::upsample] == 0 || ((height | width) & 1u) == 0;
            return even && width <= std::uint32_t(Build::max_tokens) &&
                   3 * width * words[convolution::inputs] <= std::uint32_t(Build::input_bytes);
        }
        case Opcode::Resize:
            return 4 * words[resize::width] * words[resize::channels] <=
                   std::uint32_t(Build::input_bytes);
        default:
            return true;
    }
}

inline Regions norm_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t values = std::uint64_t(words[norm::rows]) * words[norm::channels];
    Regions all;
    all.add(words[norm::x], 4 * values, Access::READ);
    all.add(words[norm::parameters], std::uint64_t(NORM_BYTES) * words[norm::channels],
            Access::CONSTANT);
    all.add(words[norm::y], values, Access::WRITE);
    if (words[norm::normalised] != 0)
        all.add(words[norm::normalised], 2 * values, Access::WRITE);
    return all;
}

inline Regions linear_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t rows = words[linear::rows];
    const std::uint64_t values = rows * words[linear::outputs];
    const std::uint32_t format = words[linear::format];
    Regions all;
    all.add(words[linear::x], rows * words[linear::inputs], Access::READ);
    all.add(words[linear::weights], product_bytes(words[linear::inputs], words[linear::outputs]),
            Access::CONSTANT);
    all.add(words[linear::y], values * ITEM_BYTES[format], Access::WRITE);
    if (Format(format) == Format::RESIDUAL)
        all.add(words[linear::residual], 4 * values, Access::READ, true);
    return all;
}

inline Regions attention_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t heads = words[attention::heads];
    const std::uint64_t values = words[attention::tokens] * heads * words[attention::head_dim];
    Regions all;
    all.add(words[attention::x], 3 * values, Access::READ);
    all.add(words[attention::parameters], HEAD_BYTES * heads, Access::CONSTANT);
    all.add(words[attention::y], values, Access::WRITE);
    return all;
}

inline Regions route_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t channels = words[route::channels];
    Regions all;
    all.add(words[route::normalised], 2 * words[route::tokens] * channels, Access::READ);
    all.add(words[route::weights], 2 * words[route::experts] * channels, Access::CONSTANT);
    all.add(words[route::biases], 4 * words[route::experts], Access::CONSTANT);
    all.add(words[route::queues], queue_bytes(words[route::experts], words[route::tokens]),
            Access::WRITE);
    return all;
}

inline Regions experts_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t channels = words[experts::channels], hidden = words[experts::hidden];
    const std::uint64_t values = words[experts::tokens] * channels;
    const std::uint64_t stream = product_bytes(channels, hidden) + product_bytes(hidden, channels);
    Regions all;
    all.add(words[experts::x], values, Access::READ);
    all.add(words[experts::queues], queue_bytes(words[experts::experts], words[experts::tokens]),
            Access::READ);
    all.add(words[experts::weights], words[experts::experts] * stream, Access::CONSTANT);
    all.add(words[experts::y], 4 * values, Access::WRITE);
    return all;
}

inline Regions convolution_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t inputs = words[convolution::inputs], outputs = words[convolution::outputs];
    const std::uint64_t pixels =
        std::uint64_t(words[convolution::height]) * words[convolution::width];
    const int fewer = words[convolution::upsample] != 0 ? 2 : 0;
    Regions all;
    all.add(words[convolution::x], (pixels * inputs) >> fewer, Access::READ);
    all.add(words[convolution::weights], product_bytes(9 * inputs, outputs), Access::CONSTANT);
    all.add(words[convolution::y], pixels * outputs, Access::WRITE);
    return all;
}

inline Regions resize_regions(const std::uint32_t words[WORDS]) {
#pragma HLS INLINE
    const std::uint64_t values = std::uint64_t(words[resize::height]) * words[resize::width] *
                                 words[resize::channels];
    Regions all;
    all.add(words[resize::x], 2 * values, Access::READ);
    all.add(words[resize::y], 8 * values, Access::WRITE);
    return all;
}

inline Regions regions(const std::uint32_t words[WORDS]) {
    switch (Opcode(words[0])) {
        case Opcode::Norm:
            return norm_regions(words);
        case Opcode::Linear:
            return linear_regions(words);
        case Opcode::Attention:
            return attention_regions(words);
        case Opcode::Route:
            return route_regions(words);
        case Opcode::Experts:
            return experts_regions(words);
        case Opcode::Convolution:
            return convolution_regions(words);
        case Opcode::Resize:
            return resize_regions(words);
        default:
            return Regions();
    }
}

template <class Build>
inline bool inside(const Region& region, std::uint32_t memory_bytes, std::uint32_t write_base) {
#pragma HLS INLINE
    if (region.address % ALIGNMENT != 0) return false;
    const std::uint64_t end = region.address + region.nbytes;
    if (region.access == Access::CONSTANT) return end <= write_base;
    if (region.address >= SCRATCH) return end <= std::uint64_t(SCRATCH) + Build::scratch_bytes;
    return (region.access != Access::WRITE || region.address >= write_base) && end <= memory_bytes;
}

// Whether what is written changes what is read.
inline bool clash(const Region& written, const Region& other) {
#pragma HLS INLINE
    if (other.residual && other.address == written.address) return false;
    return written.address < other.address + other.nbytes &&
           other.address < written.address + written.nbytes;
}

}  // namespace checking

// The status of a descriptor in a program whose memory ends at `memory_bytes` (at most SCRATCH).
template <class Build>
Status check(const std::uint32_t words[WORDS], std::uint32_t memory_bytes,
             std::uint32_t write_base) {
#pragma HLS INLINE off
    if (words[0] >= std::uint32_t(COMMANDS)) return Status::BAD_OPCODE;
    if (!checking::fields_legal<Build>(words) || !checking::fits<Build>(words))
        return Status::BAD_SIZE;
    const Regions all = checking::regions(words);
    for (int one = 0; one < all.count; ++one) {
        if (!checking::inside<Build>(all.list[one], memory_bytes, write_base))
            return Status::BAD_ADDRESS;
    }
    for (int one = 0; one < all.count; ++one) {
        if (all.list[one].access != Access::WRITE) continue;
        for (int other = 0; other < all.count; ++other) {
            if (one != other && checking::clash(all.list[one], all.list[other]))
                return Status::BAD_ADDRESS;
        }
    }
    return Status::DONE;
}

}  // namespace gearshift
