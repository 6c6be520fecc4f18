// Runs one program of every command and compares all of memory with what the golden model leaves.
// For C simulation and for co-simulation with the RTL; 0 when all bytes agree.
#include <cstdint>
#include <cstdio>

#include "memory.h"
#include "testbench_memory.h"

typedef const gearshift::Word* Weights;
extern "C" std::uint32_t gearshift_top(@weight_parameters@,
                                       gearshift::Word* memory, std::uint32_t memory_bytes,
                                       std::uint32_t write_base, std::uint32_t program);

// Co-simulation copies as many words as the ports' `depth` in gearshift.cpp says.
constexpr std::uint32_t DEPTH = 65536;
static_assert(testbench::MEMORY_BYTES <= DEPTH * 16, "the memory is larger than the ports reach");
static gearshift::Word memory[DEPTH];

static std::uint8_t byte_of(const std::uint64_t* image, std::uint32_t place) {
    return std::uint8_t(image[place / 8] >> (8 * (place % 8)));
}

int main() {
    for (std::uint32_t place = 0; place < testbench::MEMORY_BYTES; ++place)
        memory[place / 16][place % 16] = byte_of(testbench::BEFORE, place);

    const std::uint32_t ending =
        gearshift_top(@weight_arguments@, memory, testbench::MEMORY_BYTES,
                      testbench::WRITE_BASE, testbench::PROGRAM);
    if (ending != testbench::ENDING) {
        std::printf("FAIL: ended with 0x%08x, the golden model with 0x%08x\n", unsigned(ending),
                    unsigned(testbench::ENDING));
        return 1;
    }

    std::uint32_t differences = 0, first = 0;
    for (std::uint32_t place = testbench::MEMORY_BYTES; place-- > 0;) {
        const std::uint8_t expected =
            place < testbench::WRITE_BASE
                ? byte_of(testbench::BEFORE, place)
                : byte_of(testbench::AFTER, place - testbench::WRITE_BASE);
        if (memory[place / 16][place % 16] != expected) {
            ++differences;
            first = place;
        }
    }
    if (differences != 0) {
        std::printf("FAIL: %u bytes of memory differ, the first at 0x%x\n", unsigned(differences),
                    unsigned(first));
        return 1;
    }
    std::printf("PASS: %u bytes of memory agree\n", unsigned(testbench::MEMORY_BYTES));
    return 0;
}
