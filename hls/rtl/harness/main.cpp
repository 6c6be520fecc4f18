// Runs descriptor programs on the accelerator's RTL: the model that Verilator made of it, external
// memory (memory.h), and a host that starts the programs one after the other.
//
//   accelerator MEMORY_FILE MEMORY_BYTES WRITE_BASE LATENCY RATE SEED LIMIT PROGRAM...
//
// MEMORY_FILE is external memory and is changed in place; only its first MEMORY_BYTES are. LATENCY
// in cycles, RATE in thousandths of a byte a cycle, SEED of random stalls (0: none), LIMIT in cycles
// of one program, PROGRAM an address. Each program is started while the one before runs, so that it
// begins when that one ends; one that others follow must run longer than the host takes to read the
// registers, about 200 cycles. Prints JSON; cycles count from the first start.
//
// REGISTER_... are the offsets of gearshift_hls/registers.py.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdlib>
#include <memory>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "control.h"
#include "memory.h"

namespace {

constexpr unsigned PORTS = 4;
constexpr unsigned START = 1, DONE = 2;

using Counts = std::array<uint32_t, COUNTERS>;

// What the model shows beside its ports; harness.vlt makes these visible.
bool command_starts(const Vtop &model) { return model.rootp->accelerator__DOT__executor__DOT__start; }
bool program_done(const Vtop &model) {
    return model.rootp->accelerator__DOT__executor__DOT__program_done;
}
Counts sums(const Vtop &model) {
    Counts counts;
    for (unsigned each = 0; each < COUNTERS; ++each)
        counts[each] = model.rootp->accelerator__DOT__performance__DOT__sums[each];
    return counts;
}

// What one descriptor took.
struct Descriptor {
    unsigned program, number, opcode;
    uint64_t start, end;
    Counts counts;
};

// How a program ended.
struct Ending {
    uint64_t end;
    uint32_t result;
    Counts counts;
};

// Tells the descriptors apart, and what each added to the counters.
class Observer {
public:
    // Once a cycle, with all signals settled.
    void look(const Vtop &model, uint64_t now) {
        const bool starts = command_starts(model);
        if (open_ && (starts || !model.executing)) close(now);
        if (starts) {
            descriptors_.push_back(
                {program_, model.descriptor_number, model.descriptor_opcode, now, 0, last_});
            open_ = true;
        }
        last_ = sums(model);
        if (program_done(model)) {
            ++program_;
            if (open_) {
                // The next program's first command started in this cycle.
                descriptors_.back().program = program_;
                descriptors_.back().counts = {};
            }
        }
    }
    const std::vector<Descriptor> &descriptors() const { return descriptors_; }

private:
    void close(uint64_t now) {
        Descriptor &one = descriptors_.back();
        one.end = now;
        for (unsigned each = 0; each < COUNTERS; ++each)
            one.counts[each] = last_[each] - one.counts[each];
        open_ = false;
    }

    std::vector<Descriptor> descriptors_;
    Counts last_{};
    bool open_ = false;
    unsigned program_ = 0;
};

struct Arguments {
    const char *file;
    uint32_t memory_bytes, write_base;
    unsigned latency;
    uint64_t rate, seed, limit;
    std::vector<uint32_t> programs;
};

// External memory as a file in this process's memory.
class Image {
public:
    explicit Image(const Arguments &arguments) : size_(arguments.memory_bytes) {
        const int file = open(arguments.file, O_RDWR);
        struct stat about{};
        if (file < 0 || fstat(file, &about) || uint64_t(about.st_size) < size_)
            throw std::runtime_error(std::string("cannot read all of ") + arguments.file);
        void *place = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (place == MAP_FAILED) throw std::runtime_error("cannot map the memory file");
        bytes = static_cast<uint8_t *>(place);
    }
    ~Image() { munmap(bytes, size_); }
    Image(const Image &) = delete;
    uint8_t *bytes;

private:
    const uint64_t size_;
};

// The accelerator, its memory and its host.
class Machine {
public:
    Machine(const Arguments &arguments, Image &image)
        : arguments_(arguments), model_(std::make_unique<Vtop>()), faults_(now_),
          bandwidth_(arguments.rate),
          memory_{image.bytes, arguments.memory_bytes, arguments.write_base, arguments.latency,
                  now_, bandwidth_, faults_},
          control_(CONTROL_SIGNALS((*model_), s_axi_control), [this] { cycle(); }),
          writes_("memory", WRITE_SIGNALS((*model_), m_axi_memory), memory_, base(PORTS), seed(9)) {
        auto &m = *model_;
        const ReadSignals signals[PORTS + 1] = {
            READ_SIGNALS(m, m_axi_weights_0), READ_SIGNALS(m, m_axi_weights_1),
            READ_SIGNALS(m, m_axi_weights_2), READ_SIGNALS(m, m_axi_weights_3),
            READ_SIGNALS(m, m_axi_memory)};
        reads_.reserve(PORTS + 1);
        for (unsigned port = 0; port <= PORTS; ++port) {
            const std::string name = port < PORTS ? "weights_" + std::to_string(port) : "memory";
            reads_.emplace_back(name, signals[port], memory_, base(port), seed(port + 1));
        }
        std::vector<Port *> all = {&writes_};
        for (ReadPort &port : reads_) all.push_back(&port);
        ports_ = std::make_unique<Ports>(all);
    }

    void run() {
        reset();
        write_arguments();
        const auto &programs = arguments_.programs;
        start(programs[0]);
        for (size_t number = 0; number < programs.size(); ++number) {
            if (number + 1 < programs.size()) start(programs[number + 1]);
            if (!wait()) return;
            endings_.push_back({now_ - began_, 0, {}});
            take(endings_.back());
        }
        if (!ports_->idle()) faults_.add("host", "the program ended before its reads and writes");
    }

    void print() const;

private:
    // Each port has memory elsewhere, so that none works with another's address.
    static uint64_t base(unsigned port) { return uint64_t(port + 1) << 36 | (port + 1) * 5 * PAGE; }
    uint64_t seed(unsigned number) const {
        return arguments_.seed ? arguments_.seed * 64 + number : 0;
    }

    void cycle() {
        Vtop &m = *model_;
        m.clock = 0;
        m.eval();
        if (!m.reset) {
            ports_->look();
            observer_.look(m, now_ - began_);
        }
        control_.look();
        m.clock = 1;
        m.eval();
        ++now_;
        bandwidth_.cycle();
        ports_->drive();
    }

    void reset() {
        model_->reset = 1;
        for (int each = 0; each < 8; ++each) cycle();
        model_->reset = 0;
        for (int each = 0; each < 2; ++each) cycle();
    }

    void write_address(unsigned offset, uint64_t value) {
        control_.write(offset, uint32_t(value));
        control_.write(offset + 4, uint32_t(value >> 32));
    }

    void write_arguments() {
        const unsigned weights[PORTS] = {REGISTER_WEIGHTS_0, REGISTER_WEIGHTS_1,
                                         REGISTER_WEIGHTS_2, REGISTER_WEIGHTS_3};
        for (unsigned port = 0; port < PORTS; ++port) write_address(weights[port], base(port));
        write_address(REGISTER_MEMORY, base(PORTS));
        control_.write(REGISTER_MEMORY_BYTES, arguments_.memory_bytes);
        control_.write(REGISTER_WRITE_BASE, arguments_.write_base);
        control_.write(REGISTER_GLOBAL_INTERRUPT, 1);
        control_.write(REGISTER_INTERRUPT_ENABLE, 1);
    }

    void start(uint32_t program) {
        control_.write(REGISTER_PROGRAM, program);
        control_.write(REGISTER_CONTROL, START);
        if (!began_) began_ = now_;
    }

    // Until the interrupt; false when there is none.
    bool wait() {
        const uint64_t last = now_ + arguments_.limit;
        while (!model_->interrupt_request) {
            cycle();
            if (now_ > last) {
                faults_.add("host", "no end of the program after %" PRIu64 " cycles",
                            arguments_.limit);
                return false;
            }
        }
        return true;
    }

    void take(Ending &ending) {
        control_.write(REGISTER_INTERRUPT_STATUS, 1);
        if (!(control_.read(REGISTER_CONTROL) & DONE)) faults_.add("host", "interrupt, not DONE");
        ending.result = control_.read(REGISTER_RETURN);
        for (unsigned each = 0; each < COUNTERS; ++each)
            ending.counts[each] = control_.read(REGISTER_COUNTERS + 4 * each);
    }

    const Arguments &arguments_;
    std::unique_ptr<Vtop> model_;
    uint64_t now_ = 0, began_ = 0;
    Faults faults_;
    Bandwidth bandwidth_;
    Memory memory_;
    Control<SData> control_;
    std::vector<ReadPort> reads_;
    WritePort writes_;
    std::unique_ptr<Ports> ports_;
    Observer observer_;
    std::vector<Ending> endings_;
};

void print_counts(const Counts &counts) {
    printf("\"counts\":[");
    for (unsigned each = 0; each < COUNTERS; ++each) printf(each ? ",%u" : "%u", counts[each]);
    printf("]}");
}

void Machine::print() const {
    const char *comma = "";
    printf("{\"faults\":[");
    for (const std::string &fault : faults_.list()) {
        printf("%s\"%s\"", comma, fault.c_str());
        comma = ",";
    }
    printf("],\"programs\":[");
    comma = "";
    for (const Ending &one : endings_) {
        printf("%s{\"end\":%" PRIu64 ",\"result\":%u,", comma, one.end, one.result);
        print_counts(one.counts);
        comma = ",";
    }
    printf("],\"descriptors\":[");
    comma = "";
    for (const Descriptor &one : observer_.descriptors()) {
        printf("%s{\"program\":%u,\"number\":%u,\"opcode\":%u,\"start\":%" PRIu64
               ",\"end\":%" PRIu64 ",",
               comma, one.program, one.number, one.opcode, one.start, one.end);
        print_counts(one.counts);
        comma = ",";
    }
    printf("],\"read\":[");
    for (unsigned port = 0; port <= PORTS; ++port)
        printf(port ? ",%" PRIu64 : "%" PRIu64, reads_[port].bytes_read());
    printf("],\"written\":%" PRIu64 ",\"cycles\":%" PRIu64 "}\n", writes_.bytes_written(),
           now_ - began_);
}

uint64_t number(const char *text) { return strtoull(text, nullptr, 0); }

}  // namespace

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: %s FILE BYTES WRITE_BASE LATENCY RATE SEED LIMIT PROGRAM...\n",
                argv[0]);
        return 2;
    }
    Arguments arguments = {argv[1],
                           uint32_t(number(argv[2])),
                           uint32_t(number(argv[3])),
                           unsigned(number(argv[4])),
                           number(argv[5]),
                           number(argv[6]),
                           number(argv[7]),
                           {}};
    for (int place = 8; place < argc; ++place)
        arguments.programs.push_back(uint32_t(number(argv[place])));
    // Registers and memories of the model begin with anything.
    Verilated::randReset(2);
    Verilated::randSeed(int(arguments.seed) + 1);
    try {
        Image image(arguments);
        Machine machine(arguments, image);
        machine.run();
        machine.print();
    } catch (const std::exception &error) {
        fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
