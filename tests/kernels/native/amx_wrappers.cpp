// The instructions as amx.h writes them, and as the compiler does (-DCOMPILERS): the same bytes.
#include <immintrin.h>

#include "amx.h"

using namespace gearshift;

extern "C" {
#if defined(COMPILERS)
void configure(const TileConfiguration &c) { _tile_loadconfig(&c); }
void release() { _tile_release(); }
void zero() { _tile_zero(3); }
void load(const void *rows, long stride) { _tile_loadd(5, rows, stride); }
void store(void *rows, long stride) { _tile_stored(2, rows, stride); }
void bfloat16() { _tile_dpbf16ps(1, 4, 7); }
void unsigned_times_signed() { _tile_dpbusd(3, 5, 6); }
#else
void configure(const TileConfiguration &c) { tile_configure(c); }
void release() { tile_release(); }
void zero() { tile_zero<3>(); }
void load(const void *rows, long stride) { tile_load<5>(rows, stride); }
void store(void *rows, long stride) { tile_store<2>(rows, stride); }
void bfloat16() { tile_dot<GS_BFLOAT16, 1, 4, 7>(); }
void unsigned_times_signed() { tile_dot<GS_INT8, 3, 5, 6>(); }
#endif

// 77 must be in memory before the tiles are loaded, and 88 not before; 55 must be read again.
int ordered(char *x, const char *panels, int *out) {
    x[0] = 77;
    out[0] = 55;
    multiply_tiles<GS_BFLOAT16, 2, 2>(x, LINE, panels, AMX_TILE, reinterpret_cast<float *>(out),
                                      2 * LANES, panels);
    x[0] = 88;
    return out[0];
}
}
