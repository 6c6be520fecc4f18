// Which level's kernels this CPU can run, with this system's leave.
//
// Without special flags, so that it can be loaded anywhere. A level needs all that the levels
// below it need. Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2,
// CPUID, and volume 1, chapter 13 (the state components of XCR0).

#include <cstdint>
#include <cstring>
#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr const char *LEVELS[] = {"scalar", "avx2", "avx512", "avx512_bf16", "amx"};
enum { SCALAR, AVX2, AVX512, AVX512_BF16, AMX };

#if defined(__x86_64__)

struct Registers {
    uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t part) {
    Registers r;
    if (!__get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d)) return {};
    return r;
}

constexpr bool has(uint64_t bits, std::initializer_list<int> wanted) {
    for (int bit : wanted)
        if (!(bits >> bit & 1)) return false;
    return true;
}

// The registers that the system saves when it changes threads.
uint64_t saved_state() {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

// Linux gives a process the tiles' memory only if it asks; threads of it need not ask again.
bool may_use_tiles() {
#if defined(__linux__)
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

int find_level() {
    const Registers basic = cpuid(1, 0), more = cpuid(7, 0), most = cpuid(7, 1);
    constexpr int FMA = 12, OSXSAVE = 27, AVX = 28, F16C = 29;
    if (!has(basic.c, {OSXSAVE})) return SCALAR;
    const uint64_t saved = saved_state();

    constexpr int XMM = 1, YMM = 2, AVX2_BIT = 5;
    if (!has(saved, {XMM, YMM}) || !has(basic.c, {AVX, FMA, F16C}) || !has(more.b, {AVX2_BIT}))
        return SCALAR;

    constexpr int MASKS = 5, ZMM = 6, ZMM16 = 7, AVX512F = 16, DQ = 17, BW = 30, VL = 31;
    if (!has(saved, {MASKS, ZMM, ZMM16}) || !has(more.b, {AVX512F, DQ, BW, VL})) return AVX2;

    constexpr int VNNI = 11, BF16 = 5;
    if (!has(more.c, {VNNI}) || !has(most.a, {BF16})) return AVX512;

    constexpr int TILE_CONFIGURATION = 17, TILE_DATA = 18, AMX_BF16 = 22, AMX_TILE = 24,
                  AMX_INT8 = 25;
    if (!has(saved, {TILE_CONFIGURATION, TILE_DATA}) ||
        !has(more.d, {AMX_BF16, AMX_TILE, AMX_INT8}) || !may_use_tiles())
        return AVX512_BF16;
    return AMX;
}

#else

int find_level() { return SCALAR; }

#endif

int best_level() {
    static const int level = find_level();
    return level;
}

}  // namespace

extern "C" {

// The name of the fastest level.
const char *gs_best_level(void) { return LEVELS[best_level()]; }

// 1 if the level of this name runs here, else 0, as of a name that is none.
int gs_has_level(const char *name) {
    for (int level = SCALAR; level <= best_level(); level++)
        if (!std::strcmp(name, LEVELS[level])) return 1;
    return 0;
}
}
