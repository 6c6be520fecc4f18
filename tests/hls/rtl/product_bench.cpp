// The product unit between memories: runs one command a job, jobs from standard input, answers to
// standard output (rtl_product.py writes and reads them).
//
// Memory behaves as badly as the interface allows: every stream stalls at random, writes reach
// memory late, what is undefined is random, and a promise that is broken ends the job with its name.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr std::uint32_t SCRATCH = 1u << 31;
constexpr unsigned PORTS = 4, BEAT = 16, REQUESTS = 8;
constexpr std::uint32_t ON_CHIP_LATENCY = 6;  // at most
constexpr std::uint32_t QUIET_LIMIT = 200000;  // cycles without a transfer

struct Job {
    std::uint32_t memory_bytes, scratch_bytes, line_bytes, seed, stall_percent, latency;
    std::uint32_t reset;  // first; 2 or more: begin, and reset after so many cycles
    std::uint32_t words[32];
};

struct Answer {
    std::uint32_t failed, fault, cycles, busy, waits_for_weights, waits_for_data, streams;
    std::uint32_t beats;
    char problem[96];
};

struct Request {
    std::uint32_t address, lines;  // of a weight stream bytes
    std::uint64_t ready;  // cycle from which it is answered
};

struct Write {
    std::uint64_t when;
    std::uint32_t address;
    std::vector<std::uint8_t> bytes;
};

class Bench {
  public:
    Bench(const Job& job, Vtop& top, std::vector<std::uint8_t>& memory,
          std::vector<std::uint8_t>& scratch)
        : job_(job), top_(top), memory_(memory), scratch_(scratch), random_(job.seed) {}

    Answer run() {
        for (unsigned word = 0; word < 32; ++word) top_.words[word] = job_.words[word];
        top_.asking = 0;
        top_.asked = 0;  // no weights were asked for before
        if (job_.reset > 1) {
            const std::vector<std::uint8_t> memory = memory_, scratch = scratch_;
            start();
            for (std::uint32_t each = 0; each < job_.reset; ++each) cycle();
            reset();
            memory_ = memory;
            scratch_ = scratch;
        } else if (job_.reset) {
            reset();
        }
        start();
        const std::uint64_t first = now_;
        while (!done_ && problem_.empty()) {
            cycle();
            if (now_ - last_transfer_ > QUIET_LIMIT) problem_ = "nothing moves";
        }
        answer_.cycles = std::uint32_t(now_ - first);
        while (problem_.empty() && !writes_.empty()) cycle();
        for (int each = 0; each < 100 && problem_.empty(); ++each) cycle();
        if (problem_.empty() && !write_requests_.empty()) problem_ = "a write without its data";
        for (auto& port : streams_)
            if (problem_.empty() && !port.empty() && !answer_.fault)
                problem_ = "weights that were not taken";
        answer_.failed = !problem_.empty();
        std::strncpy(answer_.problem, problem_.c_str(), sizeof answer_.problem - 1);
        return answer_;
    }

  private:
    void start() {
        top_.start = 1;
        cycle();
        top_.start = 0;
    }

    // Of the unit and of the memories around it.
    void reset() {
        top_.reset = 1;
        for (int each = 0; each < 3; ++each) cycle();
        top_.reset = 0;
        read_requests_.clear();
        write_requests_.clear();
        writes_.clear();
        for (auto& port : streams_) port.clear();
        read_lines_ = write_lines_ = 0;
        offered_read_ = read_request_waits_ = write_request_waits_ = write_waits_ = done_ = false;
        for (bool& offered : offered_weights_) offered = false;
        answer_ = {};
    }

    bool stalls() { return random_() % 100 < job_.stall_percent; }
    unsigned word_bytes() const { return 2 * job_.line_bytes; }

    // The region of memory at an address; what lies beyond it is random.
    std::uint8_t* at(std::uint32_t address, std::uint32_t bytes) {
        std::vector<std::uint8_t>& space = address >= SCRATCH ? scratch_ : memory_;
        const std::uint64_t start = address >= SCRATCH ? address - SCRATCH : address;
        return start + bytes <= space.size() ? &space[start] : nullptr;
    }

    void drive_reader() {
        top_.read_request_ready = read_requests_.size() < REQUESTS && !stalls();
        bool valid = !read_requests_.empty() && now_ >= read_requests_.front().ready;
        if (!offered_read_) valid = valid && !stalls();
        if (valid && !offered_read_) {
            const Request& request = read_requests_.front();
            std::uint8_t bytes[128];
            for (std::uint8_t& each : bytes) each = std::uint8_t(random_());
            for (unsigned line = 0; line < 2 && read_lines_ + line < request.lines; ++line) {
                const std::uint8_t* from =
                    at(request.address + (read_lines_ + line) * job_.line_bytes, job_.line_bytes);
                if (from) std::memcpy(bytes + line * job_.line_bytes, from, job_.line_bytes);
            }
            std::memcpy(top_.read_data.data(), bytes, word_bytes());
        }
        offered_read_ = valid;
        top_.read_valid = valid;
    }

    void drive_writer() {
        top_.write_request_ready = write_requests_.size() < REQUESTS && !stalls();
        top_.write_ready = !write_requests_.empty() && !stalls();
        while (!writes_.empty() && writes_.front().when <= now_) {
            const Write& write = writes_.front();
            std::uint8_t* to = at(write.address, std::uint32_t(write.bytes.size()));
            if (to)
                std::memcpy(to, write.bytes.data(), write.bytes.size());
            else
                problem_ = "a write outside of memory";
            writes_.pop_front();
        }
        top_.write_idle = writes_.empty() && write_requests_.empty();
    }

    void drive_weights() {
        for (unsigned port = 0; port < PORTS; ++port) {
            top_.weights_request_ready[port] = streams_[port].size() < 3 && !stalls();
            auto& streams = streams_[port];
            bool valid = !streams.empty() && now_ >= streams.front().ready;
            if (!offered_weights_[port]) valid = valid && !stalls();
            if (valid && !offered_weights_[port]) {
                const std::uint8_t* from = at(streams.front().address, BEAT);
                if (from)
                    std::memcpy(top_.weights[port].data(), from, BEAT);
                else
                    problem_ = "weights outside of memory";
            }
            offered_weights_[port] = valid;
            top_.weights_valid[port] = valid;
        }
    }

    // What was offered and not taken must still be offered, unchanged.
    template <class Data>
    void hold(const char* name, bool valid, bool taken, const Data& data, bool& waits, Data& held) {
        if (waits && (!valid || std::memcmp(&data, &held, sizeof(Data)) != 0))
            problem_ = std::string(name) + " was withdrawn or changed";
        waits = valid && !taken;
        held = data;
    }

    void look() {
        if (top_.reset) return;
        hold("read_request", top_.read_request_valid, top_.read_request_ready, top_.read_request,
             read_request_waits_, held_read_request_);
        hold("write_request", top_.write_request_valid, top_.write_request_ready,
             top_.write_request, write_request_waits_, held_write_request_);
        hold("write", top_.write_valid, top_.write_ready, top_.write_data, write_waits_,
             held_write_);
        if (top_.read_request_valid && top_.read_request_ready)
            accept(read_requests_, std::uint64_t(top_.read_request));
        if (top_.read_valid && top_.read_ready) {
            moved();
            offered_read_ = false;
            read_lines_ += 2;
            if (read_lines_ >= read_requests_.front().lines) {
                read_requests_.pop_front();
                read_lines_ = 0;
            }
        }
        if (top_.write_valid && top_.write_ready) take_write();
        if (top_.write_request_valid && top_.write_request_ready)
            accept(write_requests_, std::uint64_t(top_.write_request));
        for (unsigned port = 0; port < PORTS; ++port) look_at_port(port);
        answer_.busy += top_.activity >> 2 & 1;
        answer_.waits_for_weights += top_.activity >> 1 & 1;
        answer_.waits_for_data += top_.activity & 1;
        if (top_.done) {
            if (done_) problem_ = "done twice";
            done_ = true;
            answer_.fault = top_.fault;
        }
    }

    void accept(std::deque<Request>& requests, std::uint64_t packed) {
        moved();
        const std::uint32_t address = std::uint32_t(packed >> 24);
        const std::uint32_t latency =
            address >= SCRATCH ? std::min(job_.latency, ON_CHIP_LATENCY) : job_.latency;
        const Request request{address, std::uint32_t(packed & 0xffffff), now_ + 1 + latency};
        if (request.address % job_.line_bytes || request.lines == 0) problem_ = "a bad request";
        requests.push_back(request);
        if (done_) problem_ = "a request after done";
    }

    void take_write() {
        moved();
        const Request& request = write_requests_.front();
        const std::uint32_t lines = std::min(2u, request.lines - write_lines_);
        Write write{now_ + 1 + job_.latency + (job_.stall_percent ? random_() % 50 : 0),
                    request.address + write_lines_ * job_.line_bytes,
                    std::vector<std::uint8_t>(lines * job_.line_bytes)};
        if (!writes_.empty()) write.when = std::max(write.when, writes_.back().when);
        std::memcpy(write.bytes.data(), top_.write_data.data(), write.bytes.size());
        writes_.push_back(write);
        write_lines_ += 2;
        if (write_lines_ >= request.lines) {
            write_requests_.pop_front();
            write_lines_ = 0;
        }
    }

    void look_at_port(unsigned port) {
        auto& streams = streams_[port];
        if (top_.weights_request_valid[port] && top_.weights_request_ready[port]) {
            moved();
            const std::uint64_t packed = top_.weights_request[port];
            streams.push_back({std::uint32_t(packed >> 32), std::uint32_t(packed),
                               now_ + 1 + job_.latency});
            answer_.streams += 1;
        }
        if (top_.weights_valid[port] && top_.weights_ready[port]) {
            moved();
            offered_weights_[port] = false;
            answer_.beats += 1;
            streams.front().address += BEAT;
            streams.front().lines -= BEAT;
            if (streams.front().lines == 0) streams.pop_front();
        }
    }

    void moved() { last_transfer_ = now_; }

    void cycle() {
        drive_reader();
        drive_writer();
        drive_weights();
        top_.clock = 0;
        top_.eval();
        look();
        top_.clock = 1;
        top_.eval();
        ++now_;
        if (Verilated::gotError()) problem_ = "an assertion failed";
    }

    const Job& job_;
    Vtop& top_;
    std::vector<std::uint8_t>&memory_, &scratch_;
    std::mt19937 random_;
    std::uint64_t now_ = 0, last_transfer_ = 0;
    std::deque<Request> read_requests_, write_requests_, streams_[PORTS];
    std::deque<Write> writes_;
    std::uint32_t read_lines_ = 0, write_lines_ = 0;
    bool offered_read_ = false, offered_weights_[PORTS] = {};
    bool read_request_waits_ = false, write_request_waits_ = false, write_waits_ = false;
    QData held_read_request_ = 0, held_write_request_ = 0;
    std::decay_t<decltype(Vtop::write_data)> held_write_ = {};
    bool done_ = false;
    Answer answer_ = {};
    std::string problem_;
};

}  // namespace

int main(int count, char** arguments) {
    Verilated::commandArgs(count, arguments);
    Verilated::fatalOnError(false);
    auto top = std::make_unique<Vtop>();
    Job job;
    while (std::fread(&job, sizeof job, 1, stdin) == 1) {
        std::vector<std::uint8_t> memory(job.memory_bytes), scratch(job.scratch_bytes);
        if (std::fread(memory.data(), 1, memory.size(), stdin) != memory.size()) return 1;
        if (std::fread(scratch.data(), 1, scratch.size(), stdin) != scratch.size()) return 1;
        const Answer answer = Bench(job, *top, memory, scratch).run();
        std::fwrite(&answer, sizeof answer, 1, stdout);
        std::fwrite(memory.data(), 1, memory.size(), stdout);
        std::fwrite(scratch.data(), 1, scratch.size(), stdout);
        std::fflush(stdout);
        if (answer.failed) return 0;
    }
}
