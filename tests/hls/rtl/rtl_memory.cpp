// Accelerators that are no accelerator drive the harness's memory model: see test_rtl_memory.py.
//
//   rtl_memory CASE: prints a line of figures, then the faults.
#include <cinttypes>
#include <cstdlib>

#include "memory.h"

namespace {

constexpr uint64_t BASE = 0x100000000;
constexpr uint64_t SIZE = 1 << 16, WRITE_BASE = 1 << 15;

// The members of a model that Verilator would make.
struct Reader {
    CData arvalid = 0, arready = 0, arlen = 0, arsize = 4, arburst = 1;
    QData araddr = 0;
    CData rvalid = 0, rready = 1, rresp = 0, rlast = 0;
    VlWide<4> rdata{};
    ReadSignals signals() {
        return {arvalid, arready, araddr, arlen, arsize, arburst, rvalid, rready, rdata, rresp, rlast};
    }
};

struct Writer {
    CData awvalid = 0, awready = 0, awlen = 0, awsize = 4, awburst = 1;
    QData awaddr = 0;
    CData wvalid = 0, wready = 0, wlast = 0;
    SData wstrb = 0xFFFF;
    VlWide<4> wdata{};
    CData bvalid = 0, bready = 1, bresp = 0;
    WriteSignals signals() {
        return {awvalid, awready, awaddr, awlen,  awsize, awburst, wvalid,
                wready,  wdata,   wstrb,  wlast,  bvalid, bready,  bresp};
    }
};

struct Bench {
    Bench(unsigned latency, uint64_t rate, uint64_t seed)
        : bytes(SIZE), faults(now), bandwidth(rate),
          memory{bytes.data(), SIZE, WRITE_BASE, latency, now, bandwidth, faults},
          read_ports{ReadPort("first", readers[0].signals(), memory, BASE, seed),
                     ReadPort("second", readers[1].signals(), memory, BASE, seed)},
          write_port("first", writer.signals(), memory, BASE, seed) {
        for (uint64_t place = 0; place < SIZE; ++place) bytes[place] = uint8_t(place * 7 + place / 256);
    }

    void cycle() {
        ports.look();
        for (int each = 0; each < 2; ++each) {
            auto &r = readers[each];
            taken[each] = r.arvalid && r.arready;
            if (r.rvalid && r.rready) got[each].push_back(r.rdata[0]);
        }
        address_taken = writer.awvalid && writer.awready;
        beat_taken = writer.wvalid && writer.wready;
        answered = writer.bvalid && writer.bready;
        ++now;
        bandwidth.cycle();
        ports.drive();
    }

    // Until the address is taken.
    void ask(int reader, uint64_t address, unsigned beats) {
        auto &r = readers[reader];
        r.araddr = BASE + address;
        r.arlen = CData(beats - 1);
        r.arvalid = 1;
        do cycle();
        while (!taken[reader]);
        r.arvalid = 0;
    }
    void write_beats(unsigned beats, unsigned last, uint16_t strobe = 0xFFFF) {
        for (unsigned beat = 0; beat < beats; ++beat) {
            writer.wvalid = 1;
            writer.wstrb = strobe;
            writer.wlast = beat == last;
            for (int word = 0; word < 4; ++word) writer.wdata[word] = 0x1000 * beat + word;
            do cycle();
            while (!beat_taken);
        }
        writer.wvalid = 0;
    }
    void write_address(uint64_t address, unsigned beats) {
        writer.awaddr = BASE + address;
        writer.awlen = CData(beats - 1);
        writer.awvalid = 1;
        do cycle();
        while (!address_taken);
        writer.awvalid = 0;
    }
    void run(unsigned cycles) {
        for (unsigned each = 0; each < cycles; ++each) cycle();
    }
    uint32_t word(uint64_t address) const {
        uint32_t value;
        memcpy(&value, bytes.data() + address, 4);
        return value;
    }

    std::vector<uint8_t> bytes;
    uint64_t now = 0;
    Faults faults;
    Bandwidth bandwidth;
    Memory memory;
    Reader readers[2];
    Writer writer;
    ReadPort read_ports[2];
    WritePort write_port;
    Ports ports{{&read_ports[0], &read_ports[1], &write_port}};
    bool taken[2] = {}, address_taken = false, beat_taken = false, answered = false;
    std::vector<uint32_t> got[2];
};

// Cycles from a read's address to its first and its last beat, then whether the data are right.
void read_latency(Bench &b) {
    b.run(50);
    b.ask(0, 0x100, 64);
    const uint64_t asked = b.now - 1;
    while (b.got[0].empty()) b.cycle();
    const uint64_t first = b.now - 1 - asked;
    while (b.got[0].size() < 64) b.cycle();
    bool right = true;
    for (unsigned beat = 0; beat < 64; ++beat) right &= b.got[0][beat] == b.word(0x100 + 16 * beat);
    printf("%" PRIu64 " %" PRIu64 " %d\n", first, b.now - 1 - asked, right);
}

// Beats that two readers and a writer get in 500 cycles when all want as much as they can get.
void share(Bench &b) {
    for (unsigned burst = 0; burst < 8; ++burst)
        for (int reader = 0; reader < 2; ++reader) b.ask(reader, 4096 * burst, 256);
    for (unsigned burst = 0; burst < 4; ++burst) b.write_address(WRITE_BASE + 4096 * burst, 256);
    b.writer.wvalid = 1;
    b.run(100);  // until all get what they can
    const size_t before[2] = {b.got[0].size(), b.got[1].size()};
    unsigned written = 0;
    for (unsigned each = 0; each < 500; ++each) {
        b.cycle();
        written += b.beat_taken;
    }
    printf("%zu %zu %u\n", b.got[0].size() - before[0], b.got[1].size() - before[1], written);
}

// Cycles from the last beat to the answer; what is in memory just before it, and after it.
void write_latency(Bench &b) {
    const uint64_t place = WRITE_BASE + 0x200;
    const uint32_t old = b.word(place + 16);
    b.write_address(place, 4);
    b.write_beats(4, 3);
    const uint64_t written = b.now - 1;
    bool unchanged = true;
    while (!b.writer.bvalid) {
        unchanged &= b.word(place + 16) == old;
        b.cycle();
    }
    printf("%" PRIu64 " %d %d\n", b.now - written, unchanged, b.word(place + 16) == 0x1000);
}

void stray(Bench &b) {
    b.write_address(WRITE_BASE - 16, 2);
    b.write_beats(2, 1);
    b.run(100);
    printf("%d\n", b.word(WRITE_BASE) == 0x1000);
}

void strobe(Bench &b) {
    const uint32_t old = b.word(WRITE_BASE);
    b.write_address(WRITE_BASE, 1);
    b.write_beats(1, 0, 0xFF00);
    b.run(100);
    printf("%d %d\n", b.word(WRITE_BASE) == old, b.word(WRITE_BASE + 8) == 2);
}

void early_last(Bench &b) {
    b.write_address(WRITE_BASE, 4);
    b.write_beats(4, 1);
    printf("\n");
}

void crossing(Bench &b) {
    b.ask(0, 4096 - 32, 4);
    printf("\n");
}

void outside(Bench &b) {
    b.ask(0, SIZE - 16, 2);
    b.run(100);
    printf("%zu\n", b.got[0].size());
}

void withdrawn(Bench &b) {
    // Seventeen bursts are one more than the port takes at once.
    for (unsigned burst = 0; burst < 16; ++burst) b.ask(0, 4096, 256);
    b.readers[0].arvalid = 1;
    b.run(2);
    b.readers[0].arvalid = 0;
    b.run(2);
    printf("\n");
}

void changed(Bench &b) {
    b.write_address(WRITE_BASE, 2);
    b.memory.bandwidth.take_beat();
    b.writer.wvalid = 1;
    b.write_port.reset();  // nothing is expected: data wait
    b.run(2);
    b.writer.wdata[0] ^= 1;
    b.run(2);
    printf("\n");
}

}  // namespace

int main(int argc, char **argv) {
    const std::string name = argc > 1 ? argv[1] : "";
    const uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 0) : 0;
    const uint64_t rate = argc > 3 ? strtoull(argv[3], nullptr, 0) : 1000 * 100;
    Bench bench(40, rate, seed);
    bench.cycle();
    const std::pair<const char *, void (*)(Bench &)> cases[] = {
        {"read_latency", read_latency}, {"share", share},       {"write_latency", write_latency},
        {"stray", stray},               {"strobe", strobe},     {"early_last", early_last},
        {"crossing", crossing},         {"outside", outside},   {"withdrawn", withdrawn},
        {"changed", changed}};
    for (const auto &[known, run] : cases) {
        if (name != known) continue;
        run(bench);
        for (const std::string &fault : bench.faults.list()) printf("%s\n", fault.c_str());
        return 0;
    }
    return 2;
}
