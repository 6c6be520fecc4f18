// The accelerator: fetches descriptors, checks them, and executes them one after the other.
//
// Interface: `run_program` is the whole of it for one build; `gearshift_top` (gearshift.cpp) is the
// top function of Zcu104Build, whose arguments are the registers of gearshift_hls/registers.py.
// Initiation interval aimed at: about 200 cycles a descriptor beside its command: fetch, check and
// the latency of external memory.
// Resources aimed at, not measured, for Zcu104Build: what the units aim at, about 1,650 DSP, 79
// UltraRAM and 130 block RAM together; the array has 1,024 of the DSP, the lanes that finish its
// sums most of the rest.
#pragma once

#include <cstdint>

#include "attention.h"
#include "buffers.h"
#include "check.h"
#include "contract.h"
#include "convolution.h"
#include "experts.h"
#include "linear.h"
#include "memory.h"
#include "norm.h"
#include "resize.h"
#include "route.h"
#include "run_pass.h"

namespace gearshift {

inline std::uint32_t ending(Status status, std::uint32_t number) {
#pragma HLS INLINE
    return std::uint32_t(status) | number << 8;
}

// The next pass of a command that multiplies; FINISHED of any other.
template <class Build>
Next next_pass(const std::uint32_t words[WORDS], Step& step, const Word* memory,
               const Word* scratch, Buffers<Build>& buffers, Pass& pass) {
    switch (Opcode(words[0])) {
        case Opcode::Linear:
            return linear_pass<Build>(words, step, memory, scratch, buffers, pass);
        case Opcode::Attention:
            return attention_pass<Build>(words, step, memory, scratch, buffers, pass);
        case Opcode::Experts:
            return experts_pass<Build>(words, step, memory, scratch, buffers, pass);
        case Opcode::Convolution:
            return convolution_pass<Build>(words, step, memory, scratch, buffers, pass);
        default:
            return Next::FINISHED;
    }
}

// One legal command.
template <class Build>
Status execute(const std::uint32_t words[WORDS], const Word* weights_0, const Word* weights_1,
               const Word* weights_2, const Word* weights_3, Word* memory, Word* scratch,
               Buffers<Build>& buffers) {
    switch (Opcode(words[0])) {
        case Opcode::Norm:
            norm_unit<Build>(words, memory, scratch);
            return Status::DONE;
        case Opcode::Route:
            route_unit<Build>(words, memory, scratch);
            return Status::DONE;
        case Opcode::Resize:
            resize_unit<Build>(words, memory, scratch, buffers.input.bank[0],
                               buffers.input.bank[1]);
            return Status::DONE;
        default:
            break;
    }
    Step step;
    for (;;) {
        Pass pass;
        const Next next = next_pass<Build>(words, step, memory, scratch, buffers, pass);
        if (next == Next::BAD_QUEUE) return Status::BAD_QUEUE;
        if (next == Next::FINISHED) return Status::DONE;
        run_pass<Build>(pass, weights_0, weights_1, weights_2, weights_3, memory, scratch, buffers);
    }
}

// The 32 words of the descriptor at `address`.
inline void fetch(const Word* memory, std::uint32_t address, std::uint32_t words[WORDS]) {
    constexpr std::uint32_t in_beat = BEAT_BYTES / 4;
    for (std::uint32_t beat = 0; beat < WORDS / in_beat; ++beat) {
#pragma HLS PIPELINE II = 1
        const Word word = memory[address / BEAT_BYTES + beat];
        for (std::uint32_t each = 0; each < in_beat; ++each) {
#pragma HLS UNROLL
            words[beat * in_beat + each] = get_uint32(word, int(4 * each));
        }
    }
}

// Executes the program at address `program`. Returns the status in bits 0-7, the number of the
// descriptor that ended it in bits 8-31. `weights_0` .. `weights_3` and `memory` are the same
// memory; of the weight ports the first Build::weight_ports are used.
template <class Build>
std::uint32_t run_program(const Word* weights_0, const Word* weights_1, const Word* weights_2,
                          const Word* weights_3, Word* memory, std::uint32_t memory_bytes,
                          std::uint32_t write_base, std::uint32_t program, Word* scratch,
                          Buffers<Build>& buffers) {
    if (write_base > memory_bytes || memory_bytes > SCRATCH)
        return ending(Status::BAD_PROGRAM, 0);
    for (std::uint32_t number = 0;; ++number) {
        std::uint32_t words[WORDS];
#pragma HLS ARRAY_PARTITION variable = words complete
        const std::uint64_t address = program + std::uint64_t(number) * DESCRIPTOR_BYTES;
        if (address % ALIGNMENT != 0 || address + DESCRIPTOR_BYTES > write_base)
            return ending(Status::BAD_PROGRAM, number);
        fetch(memory, std::uint32_t(address), words);
        Status status = check<Build>(words, memory_bytes, write_base);
        if (status != Status::DONE || Opcode(words[0]) == Opcode::End)
            return ending(status, number);
        status = execute<Build>(words, weights_0, weights_1, weights_2, weights_3, memory, scratch,
                                buffers);
        if (status != Status::DONE) return ending(status, number);
    }
}

}  // namespace gearshift
