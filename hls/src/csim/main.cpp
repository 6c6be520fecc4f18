// A program run from files, for a build with sanitizers, which do not load into Python.
//
// main BUILD MEMORY SCRATCH WRITE_BASE PROGRAM: the files hold the bytes of external and on-chip
// memory and are written back; prints what the accelerator returns. BUILD is zcu104 or small.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "simulate.h"

namespace {

constexpr std::size_t WORD = 16;

// The file's bytes, filled up with zeros to whole words; an empty one gets a word.
bool load(const char* path, std::vector<std::uint8_t>& bytes, std::size_t& size) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) return false;
    std::fseek(file, 0, SEEK_END);
    size = std::size_t(std::ftell(file));
    std::rewind(file);
    bytes.assign((size / WORD + 1) * WORD, 0);
    if (size % WORD == 0 && size > 0) bytes.resize(size);
    const bool complete = std::fread(bytes.data(), 1, size, file) == size;
    std::fclose(file);
    return complete;
}

bool save(const char* path, const std::vector<std::uint8_t>& bytes, std::size_t size) {
    std::FILE* file = std::fopen(path, "wb");
    if (file == nullptr) return false;
    const bool complete = std::fwrite(bytes.data(), 1, size, file) == size;
    return std::fclose(file) == 0 && complete;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 6) {
        std::fprintf(stderr, "usage: %s BUILD MEMORY SCRATCH WRITE_BASE PROGRAM\n", arguments[0]);
        return 2;
    }
    std::vector<std::uint8_t> memory, scratch;
    std::size_t memory_bytes = 0, scratch_bytes = 0;
    if (!load(arguments[2], memory, memory_bytes) || !load(arguments[3], scratch, scratch_bytes)) {
        std::fprintf(stderr, "%s or %s cannot be read\n", arguments[2], arguments[3]);
        return 1;
    }
    const bool small = std::strcmp(arguments[1], "small") == 0;
    const std::uint32_t result = (small ? simulate_small : simulate_zcu104)(
        memory.data(), std::uint32_t(memory_bytes),
        std::uint32_t(std::strtoul(arguments[4], nullptr, 10)),
        std::uint32_t(std::strtoul(arguments[5], nullptr, 10)), scratch.data());
    if (!save(arguments[2], memory, memory_bytes) || !save(arguments[3], scratch, scratch_bytes)) {
        std::fprintf(stderr, "%s or %s cannot be written\n", arguments[2], arguments[3]);
        return 1;
    }
    std::printf("%u\n", result);
    return 0;
}
