// The host's side of the control registers: AXI4-Lite accesses that run the clock until answered.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>

#include "bus.h"

template <class Address>
class Control {
public:
    // `cycle` runs one clock cycle; signals are looked at in its middle, by `look`.
    Control(ControlSignals<Address> signals, std::function<void()> cycle)
        : signals_(signals), cycle_(std::move(cycle)) {
        signals_.awvalid = signals_.wvalid = signals_.bready = 0;
        signals_.arvalid = signals_.rready = 0;
        signals_.wstrb = 15;
    }

    // Once a cycle, with all signals settled.
    void look() {
        const auto &s = signals_;
        taken_address_ |= s.awvalid && s.awready;
        taken_data_ |= s.wvalid && s.wready;
        answered_ |= s.bvalid && s.bready;
        taken_read_ |= s.arvalid && s.arready;
        if (s.rvalid && s.rready) {
            read_ = true;
            data_ = s.rdata;
        }
    }

    void write(unsigned offset, uint32_t value) {
        taken_address_ = taken_data_ = answered_ = false;
        signals_.awaddr = Address(offset);
        signals_.wdata = value;
        for (unsigned cycles = 0; !answered_; ++cycles) {
            give_up(cycles);
            signals_.awvalid = !taken_address_;
            signals_.wvalid = !taken_data_;
            signals_.bready = 1;
            cycle_();
        }
        signals_.awvalid = signals_.wvalid = signals_.bready = 0;
    }

    uint32_t read(unsigned offset) {
        taken_read_ = read_ = false;
        signals_.araddr = Address(offset);
        for (unsigned cycles = 0; !read_; ++cycles) {
            give_up(cycles);
            signals_.arvalid = !taken_read_;
            signals_.rready = 1;
            cycle_();
        }
        signals_.arvalid = signals_.rready = 0;
        return data_;
    }

private:
    static void give_up(unsigned cycles) {
        if (cycles > 1000) throw std::runtime_error("the control registers do not answer");
    }

    ControlSignals<Address> signals_;
    std::function<void()> cycle_;
    bool taken_address_ = false, taken_data_ = false, answered_ = false;
    bool taken_read_ = false, read_ = false;
    uint32_t data_ = 0;
};
