// C simulation of a whole program: what gearshift_hls/simulation.py calls.
//
// As gearshift.cpp, for either build, with on-chip memories of its own in every call.
#include "simulate.h"

#include <cstring>
#include <memory>

#include "gearshift.h"

namespace {

template <class Build>
std::uint32_t simulate(std::uint8_t* memory, std::uint32_t memory_bytes, std::uint32_t write_base,
                       std::uint32_t program, std::uint8_t* scratch) {
    using gearshift::Word;
    using Buffers = gearshift::Buffers<Build>;
    const std::unique_ptr<Buffers> buffers(new Buffers);
    // What a buffer holds in the beginning means nothing; it must not be what happens to be right.
    std::memset(static_cast<void*>(buffers.get()), 0x5A, sizeof(Buffers));
    Word* words = reinterpret_cast<Word*>(memory);
    return gearshift::run_program<Build>(words, words, words, words, words, memory_bytes,
                                         write_base, program, reinterpret_cast<Word*>(scratch),
                                         *buffers);
}

}  // namespace

std::uint32_t simulate_zcu104(std::uint8_t* memory, std::uint32_t memory_bytes,
                              std::uint32_t write_base, std::uint32_t program,
                              std::uint8_t* scratch) {
    return simulate<gearshift::Zcu104Build>(memory, memory_bytes, write_base, program, scratch);
}

std::uint32_t simulate_small(std::uint8_t* memory, std::uint32_t memory_bytes,
                             std::uint32_t write_base, std::uint32_t program,
                             std::uint8_t* scratch) {
    return simulate<gearshift::SmallBuild>(memory, memory_bytes, write_base, program, scratch);
}
