// The top function: one instance of the accelerator, its ports and its on-chip memories.
#include "gearshift.h"

extern "C" std::uint32_t gearshift_top(const gearshift::Word* weights_0,
                                       const gearshift::Word* weights_1,
                                       const gearshift::Word* weights_2,
                                       const gearshift::Word* weights_3, gearshift::Word* memory,
                                       std::uint32_t memory_bytes, std::uint32_t write_base,
                                       std::uint32_t program) {
#pragma HLS INTERFACE mode = m_axi port = weights_0 bundle = weights_0 offset = slave depth = 65536 num_read_outstanding = 16 max_read_burst_length = 64
#pragma HLS INTERFACE mode = m_axi port = weights_1 bundle = weights_1 offset = slave depth = 65536 num_read_outstanding = 16 max_read_burst_length = 64
#pragma HLS INTERFACE mode = m_axi port = weights_2 bundle = weights_2 offset = slave depth = 65536 num_read_outstanding = 16 max_read_burst_length = 64
#pragma HLS INTERFACE mode = m_axi port = weights_3 bundle = weights_3 offset = slave depth = 65536 num_read_outstanding = 16 max_read_burst_length = 64
#pragma HLS INTERFACE mode = m_axi port = memory bundle = memory offset = slave depth = 65536 num_read_outstanding = 64 num_write_outstanding = 16 max_read_burst_length = 64 max_write_burst_length = 64
#pragma HLS INTERFACE mode = s_axilite port = weights_0
#pragma HLS INTERFACE mode = s_axilite port = weights_1
#pragma HLS INTERFACE mode = s_axilite port = weights_2
#pragma HLS INTERFACE mode = s_axilite port = weights_3
#pragma HLS INTERFACE mode = s_axilite port = memory
#pragma HLS INTERFACE mode = s_axilite port = memory_bytes
#pragma HLS INTERFACE mode = s_axilite port = write_base
#pragma HLS INTERFACE mode = s_axilite port = program
#pragma HLS INTERFACE mode = s_axilite port = return
    typedef gearshift::Zcu104Build Build;
    static gearshift::Word scratch[Build::scratch_bytes / gearshift::BEAT_BYTES];
    static gearshift::Buffers<Build> buffers;
#pragma HLS BIND_STORAGE variable = scratch type = ram_2p impl = uram
#pragma HLS BIND_STORAGE variable = buffers.sums type = ram_2p impl = uram
    return gearshift::run_program<Build>(weights_0, weights_1, weights_2, weights_3, memory,
                                         memory_bytes, write_base, program, scratch, buffers);
}
