// What no kernel does with tiles, for the emulation to find: one mistake a word.
#include <cstdio>
#include <cstring>

#include "amx.h"

using namespace gearshift;

int main(int, char **words) {
    const char *word = words[1];
    auto is = [&](const char *other) { return !std::strcmp(word, other); };
    alignas(LINE) static char x[AMX_ROWS * LINE], panels[2 * AMX_TILE * LINE];
    static float out[AMX_ROWS * 2 * LANES];
    TileConfiguration configuration;
    if (is("palette")) configuration.palette = 2;
    if (is("reserved")) configuration.reserved[13] = 1;
    if (is("rows")) configuration.rows[3] = 17;
    if (is("bytes")) configuration.row_bytes[7] = 65;
    if (is("ninth")) configuration.rows[8] = 16;
    if (is("half")) configuration.rows[2] = 0;
    if (is("shape")) configuration.rows[6] = 8;
    if (is("missing")) configuration.rows[5] = configuration.row_bytes[5] = 0;
    if (!is("unconfigured")) tile_configure(configuration);
    if (is("released")) tile_release();
    multiply_amx<GS_BFLOAT16>(x, LINE, AMX_ROWS, panels, 2, AMX_TILE, out, 2 * LANES, panels);
    std::puts("done");
}
