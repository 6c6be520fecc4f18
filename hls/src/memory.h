// Memory as every unit sees it: words of 16 bytes in two spaces, told apart by the address.
//
// External memory is one read/write AXI port (`Word* memory`, word 0 at the base) and read-only
// ports for weights; on-chip memory is `Word* scratch`, at addresses from SCRATCH on. A unit is
//     template <class Build> unit(const std::uint32_t words[WORDS], Word* memory, Word* scratch)
// and reaches both by `read_words` and `write_words`, whose addresses are multiples of 16. Regions
// start at multiples of 64 and rows are multiples of 16 bytes, so no word is ever written in part.
// Initiation interval aimed at: 1 word a cycle; external reads and writes as bursts.
// Resources aimed at, not measured: the scratch memory of Zcu104Build in 32 UltraRAM.
#pragma once

#include <cstdint>
#include <hls_vector.h>

#include "contract.h"

namespace gearshift {

// One beat of a memory port, byte 0 first.
typedef hls::vector<std::uint8_t, BEAT_BYTES> Word;

// `count` words from `address` on -> words[0 .. count).
inline void read_words(const Word* memory, const Word* scratch, std::uint32_t address,
                       std::uint32_t count, Word* words) {
    if (address >= SCRATCH) {
        const std::uint32_t start = (address - SCRATCH) / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            words[index] = scratch[start + index];
        }
    } else {
        const std::uint32_t start = address / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            words[index] = memory[start + index];
        }
    }
}

// words[0 .. count) -> `count` words from `address` on.
inline void write_words(Word* memory, Word* scratch, std::uint32_t address, std::uint32_t count,
                        const Word* words) {
    if (address >= SCRATCH) {
        const std::uint32_t start = (address - SCRATCH) / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            scratch[start + index] = words[index];
        }
    } else {
        const std::uint32_t start = address / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            memory[start + index] = words[index];
        }
    }
}

inline Word read_word(const Word* memory, const Word* scratch, std::uint32_t address) {
#pragma HLS INLINE
    return address >= SCRATCH ? scratch[(address - SCRATCH) / BEAT_BYTES]
                              : memory[address / BEAT_BYTES];
}

inline void write_word(Word* memory, Word* scratch, std::uint32_t address, const Word& word) {
#pragma HLS INLINE
    if (address >= SCRATCH)
        scratch[(address - SCRATCH) / BEAT_BYTES] = word;
    else
        memory[address / BEAT_BYTES] = word;
}

// Little-endian items of a word, `place` counted in bytes.
inline std::uint32_t get_uint16(const Word& word, int place) {
#pragma HLS INLINE
    return word[place] | std::uint32_t(word[place + 1]) << 8;
}

inline std::int32_t get_int16(const Word& word, int place) {
#pragma HLS INLINE
    return std::int16_t(get_uint16(word, place));
}

inline std::uint32_t get_uint32(const Word& word, int place) {
#pragma HLS INLINE
    return get_uint16(word, place) | get_uint16(word, place + 2) << 16;
}

inline std::int32_t get_int32(const Word& word, int place) {
#pragma HLS INLINE
    return std::int32_t(get_uint32(word, place));
}

// The low `nbytes` bytes of an integer of either sign.
inline void put(Word& word, int place, int nbytes, std::uint32_t value) {
#pragma HLS INLINE
    for (int each = 0; each < nbytes; ++each) {
#pragma HLS UNROLL
        word[place + each] = std::uint8_t(value >> (8 * each));
    }
}

}  // namespace gearshift
