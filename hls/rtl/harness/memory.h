// External memory behind AXI4 ports: assumed latency and bandwidth, random stalls, and checks of
// what the accelerator does on the bus.
//
// A port moves one beat of 16 bytes a cycle at most; all ports together share a rate. Reads are
// answered in order, `latency` cycles after their address at the earliest; a burst of writes is
// acknowledged `latency` cycles after its last beat and is in memory only then, so that a read that
// did not wait for the acknowledgement gets old data.
#pragma once

#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "bus.h"

constexpr unsigned BEAT = 16;
constexpr unsigned OUTSTANDING = 16;  // bursts that a port takes before the first is answered
constexpr unsigned PAGE = 4096;

// What is wrong with the accelerator's behaviour on the bus; the first few, with their cycles.
class Faults {
public:
    explicit Faults(const uint64_t &now) : now_(now) {}

    void add(const std::string &port, const char *format, ...) __attribute__((format(printf, 3, 4))) {
        if (list_.size() >= 20) return;
        char text[200];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        list_.push_back("cycle " + std::to_string(now_) + ", " + port + ": " + text);
    }

    const std::vector<std::string> &list() const { return list_; }

private:
    const uint64_t &now_;
    std::vector<std::string> list_;
};

// Random stalls: none with seed 0. Xorshift (Marsaglia, 2003).
class Stalls {
public:
    explicit Stalls(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u), active_(seed != 0) {}

    // Whether nothing happens in this cycle.
    bool operator()() { return active_ && next() % 4 == 0; }
    // Cycles that something takes longer.
    unsigned delay() { return active_ && next() % 8 == 0 ? next() % 200 : 0; }

private:
    uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_ >> 11;
    }
    uint64_t state_;
    bool active_;
};

// The rate that all ports share, as a credit that grows every cycle.
class Bandwidth {
public:
    // In thousandths of a byte a cycle.
    explicit Bandwidth(uint64_t rate) : rate_(rate) {}

    void cycle() {
        credit_ += rate_;
        if (credit_ > MOST) credit_ = MOST;
    }
    bool take_beat() {
        if (credit_ < 1000 * BEAT) return false;
        credit_ -= 1000 * BEAT;
        return true;
    }

private:
    static constexpr uint64_t MOST = 1000 * BEAT * 8;
    const uint64_t rate_;
    uint64_t credit_ = 0;
};

// What all ports share.
struct Memory {
    uint8_t *bytes;
    uint64_t size;        // of memory
    uint64_t write_base;  // nothing is written below
    unsigned latency;
    const uint64_t &now;
    Bandwidth &bandwidth;
    Faults &faults;
};

struct Burst {
    uint64_t address;  // relative to memory
    unsigned beats;
    uint64_t ready;  // the first cycle in which it may be answered
};

// The rules of AXI4 (ARM IHI 0022, section A3) for an address channel.
class AddressCheck {
public:
    AddressCheck(std::string port, Memory &memory) : port_(std::move(port)), memory_(memory) {}

    // Once a cycle; `address` is relative to memory.
    void look(bool valid, bool ready, uint64_t address, unsigned length, unsigned size,
              unsigned burst) {
        const std::array<uint64_t, 4> offer = {address, length, size, burst};
        if (waiting_ && !valid) memory_.faults.add(port_, "address withdrawn");
        if (waiting_ && valid && offer != offer_) memory_.faults.add(port_, "address changed");
        waiting_ = valid && !ready;
        offer_ = offer;
        if (!valid || !ready) return;
        const uint64_t nbytes = BEAT * (length + 1);
        if (size != 4) memory_.faults.add(port_, "size %u is not 16 bytes", size);
        if (burst != 1) memory_.faults.add(port_, "burst type %u is not INCR", burst);
        if (address % BEAT) memory_.faults.add(port_, "address %#lx is not aligned", address);
        if (address % PAGE + nbytes > PAGE)
            memory_.faults.add(port_, "%lu bytes at %#lx cross 4 KiB", nbytes, address);
    }

private:
    const std::string port_;
    Memory &memory_;
    bool waiting_ = false;
    std::array<uint64_t, 4> offer_{};
};

// One direction of a port.
class Port {
public:
    virtual ~Port() = default;
    // Once a cycle, with all signals settled.
    virtual void look() = 0;
    // After the rising edge: the next cycle's signals.
    virtual void drive() = 0;
    virtual void reset() = 0;
    // Whether everything that was asked for has happened.
    virtual bool idle() const = 0;
};

// All ports; who may take what is left of the rate takes turns.
class Ports {
public:
    explicit Ports(std::vector<Port *> list) : list_(std::move(list)) {}

    void look() {
        for (Port *port : list_) port->look();
    }
    void drive() {
        if (++first_ == list_.size()) first_ = 0;
        for (size_t place = 0; place < list_.size(); ++place)
            list_[(first_ + place) % list_.size()]->drive();
    }
    bool idle() const {
        for (const Port *port : list_)
            if (!port->idle()) return false;
        return true;
    }

private:
    const std::vector<Port *> list_;
    size_t first_ = 0;
};

class ReadPort : public Port {
public:
    ReadPort(std::string name, ReadSignals signals, Memory &memory, uint64_t base, uint64_t seed)
        : name_(std::move(name)), signals_(signals), memory_(memory), base_(base), stalls_(seed),
          check_(name_, memory) {
        reset();
    }

    void reset() override {
        bursts_.clear();
        signals_.arready = signals_.rvalid = 0;
    }

    void look() override {
        const auto &s = signals_;
        const uint64_t address = s.araddr - base_;
        check_.look(s.arvalid, s.arready, address, s.arlen, s.arsize, s.arburst);
        if (s.arvalid && s.arready) {
            const unsigned beats = s.arlen + 1u;
            if (address + BEAT * beats > (memory_.size + 63) / 64 * 64)
                memory_.faults.add(name_, "%u beats at %#lx are outside of memory", beats, address);
            bursts_.push_back({address, beats, memory_.now + memory_.latency + stalls_.delay()});
        }
        taken_ = s.rvalid && s.rready;
        if (taken_) bytes_read_ += BEAT;
    }

    void drive() override {
        auto &s = signals_;
        s.arready = bursts_.size() < OUTSTANDING && !stalls_();
        if (s.rvalid && !taken_) return;
        s.rvalid = 0;
        if (bursts_.empty() || memory_.now < bursts_.front().ready || stalls_()) return;
        if (!memory_.bandwidth.take_beat()) return;
        Burst &burst = bursts_.front();
        uint32_t words[4] = {};
        if (burst.address + BEAT <= memory_.size) memcpy(words, memory_.bytes + burst.address, BEAT);
        for (int word = 0; word < 4; ++word) s.rdata[word] = words[word];
        s.rvalid = 1;
        s.rresp = 0;
        s.rlast = burst.beats == 1;
        burst.address += BEAT;
        if (--burst.beats == 0) bursts_.pop_front();
    }

    uint64_t bytes_read() const { return bytes_read_; }
    bool idle() const override { return bursts_.empty() && !signals_.rvalid; }

private:
    const std::string name_;
    ReadSignals signals_;
    Memory &memory_;
    const uint64_t base_;
    Stalls stalls_;
    AddressCheck check_;
    std::deque<Burst> bursts_;
    bool taken_ = false;
    uint64_t bytes_read_ = 0;
};

class WritePort : public Port {
public:
    WritePort(std::string name, WriteSignals signals, Memory &memory, uint64_t base, uint64_t seed)
        : name_(std::move(name)), signals_(signals), memory_(memory), base_(base), stalls_(seed),
          check_(name_, memory) {
        reset();
    }

    void reset() override {
        bursts_.clear();
        written_.clear();
        beats_.clear();
        granted_ = false;
        signals_.awready = signals_.wready = signals_.bvalid = 0;
    }

    void look() override {
        const auto &s = signals_;
        const uint64_t address = s.awaddr - base_;
        check_.look(s.awvalid, s.awready, address, s.awlen, s.awsize, s.awburst);
        if (s.awvalid && s.awready) bursts_.push_back({address, s.awlen + 1u, 0});
        look_at_data();
        if (s.bvalid && s.bready) answered_ = true;
    }

    void drive() override {
        auto &s = signals_;
        s.awready = bursts_.size() + written_.size() < OUTSTANDING && !stalls_();
        if (!granted_ && !bursts_.empty() && !stalls_()) granted_ = memory_.bandwidth.take_beat();
        s.wready = granted_;
        if (answered_) s.bvalid = 0;
        answered_ = false;
        if (s.bvalid || written_.empty() || memory_.now < written_.front().ready) return;
        write(written_.front());
        written_.pop_front();
        s.bvalid = 1;
        s.bresp = 0;
    }

    uint64_t bytes_written() const { return bytes_written_; }
    bool idle() const override { return bursts_.empty() && written_.empty() && !signals_.bvalid; }

private:
    struct Beat {
        uint32_t words[4];
        uint16_t strobe;
        bool operator==(const Beat &other) const {
            return !memcmp(words, other.words, sizeof words) && strobe == other.strobe;
        }
    };

    void look_at_data() {
        const auto &s = signals_;
        Beat beat{{s.wdata[0], s.wdata[1], s.wdata[2], s.wdata[3]}, s.wstrb};
        if (waiting_ && !s.wvalid) memory_.faults.add(name_, "data withdrawn");
        if (waiting_ && s.wvalid && !(beat == offer_)) memory_.faults.add(name_, "data changed");
        waiting_ = s.wvalid && !s.wready;
        offer_ = beat;
        if (!s.wvalid || !s.wready) return;
        granted_ = false;
        Burst &burst = bursts_.front();
        beats_.push_back(beat);
        ++in_burst_;
        if (bool(s.wlast) != (in_burst_ == burst.beats))
            memory_.faults.add(name_, "wlast at beat %u of %u", in_burst_, burst.beats);
        if (in_burst_ < burst.beats) return;
        burst.ready = memory_.now + memory_.latency + stalls_.delay();
        written_.push_back(burst);
        bursts_.pop_front();
        in_burst_ = 0;
    }

    // The beats of a burst become memory.
    void write(const Burst &burst) {
        for (unsigned number = 0; number < burst.beats; ++number) {
            const Beat beat = beats_.front();
            beats_.pop_front();
            const auto *bytes = reinterpret_cast<const uint8_t *>(beat.words);
            for (unsigned place = 0; place < BEAT; ++place) {
                if (!(beat.strobe >> place & 1)) continue;
                const uint64_t address = burst.address + BEAT * number + place;
                if (address < memory_.write_base || address >= memory_.size) {
                    memory_.faults.add(name_, "stray write at %#lx", address);
                    break;
                }
                memory_.bytes[address] = bytes[place];
                ++bytes_written_;
            }
        }
    }

    const std::string name_;
    WriteSignals signals_;
    Memory &memory_;
    const uint64_t base_;
    Stalls stalls_;
    AddressCheck check_;
    std::deque<Burst> bursts_;   // whose data have not all come
    std::deque<Burst> written_;  // whose data have come
    std::deque<Beat> beats_;     // of both
    unsigned in_burst_ = 0;      // beats of the first of `bursts_` that have come
    bool granted_ = false;       // a beat may come
    bool waiting_ = false;
    bool answered_ = false;
    Beat offer_{};
    uint64_t bytes_written_ = 0;
};
