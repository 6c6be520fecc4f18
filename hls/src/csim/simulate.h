// Runs a program of one build in C simulation.
#pragma once

#include <cstdint>

extern "C" {

// `memory` has whole words of 16 bytes, the last of which may reach behind `memory_bytes`; it is
// changed in place, as is `scratch`, the on-chip memory of the build. Returns what the accelerator
// returns: the status in bits 0-7, the descriptor's number in bits 8-31.
std::uint32_t simulate_zcu104(std::uint8_t* memory, std::uint32_t memory_bytes,
                              std::uint32_t write_base, std::uint32_t program,
                              std::uint8_t* scratch);
std::uint32_t simulate_small(std::uint8_t* memory, std::uint32_t memory_bytes,
                             std::uint32_t write_base, std::uint32_t program,
                             std::uint8_t* scratch);
}
