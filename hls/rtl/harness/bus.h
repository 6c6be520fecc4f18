// The signals of the top's AXI ports, gathered from the members of a Verilator model.
#pragma once

#include "verilated.h"

// Read channels of an AXI4 port of 128 bits; the model's outputs are const.
struct ReadSignals {
    const CData &arvalid;
    CData &arready;
    const QData &araddr;
    const CData &arlen, &arsize, &arburst;
    CData &rvalid;
    const CData &rready;
    VlWide<4> &rdata;
    CData &rresp, &rlast;
};

// Write channels of an AXI4 port of 128 bits.
struct WriteSignals {
    const CData &awvalid;
    CData &awready;
    const QData &awaddr;
    const CData &awlen, &awsize, &awburst;
    const CData &wvalid;
    CData &wready;
    const VlWide<4> &wdata;
    const SData &wstrb;
    const CData &wlast;
    CData &bvalid;
    const CData &bready;
    CData &bresp;
};

// An AXI4-Lite port of 32 bits.
template <class Address>
struct ControlSignals {
    CData &awvalid;
    const CData &awready;
    Address &awaddr;
    CData &wvalid;
    const CData &wready;
    IData &wdata;
    CData &wstrb;
    const CData &bvalid;
    CData &bready;
    CData &arvalid;
    const CData &arready;
    Address &araddr;
    const CData &rvalid;
    CData &rready;
    const IData &rdata;
};

#define READ_SIGNALS(model, port)                                                                \
    {                                                                                            \
        model.port##_arvalid, model.port##_arready, model.port##_araddr, model.port##_arlen,     \
            model.port##_arsize, model.port##_arburst, model.port##_rvalid, model.port##_rready, \
            model.port##_rdata, model.port##_rresp, model.port##_rlast                           \
    }

#define WRITE_SIGNALS(model, port)                                                               \
    {                                                                                            \
        model.port##_awvalid, model.port##_awready, model.port##_awaddr, model.port##_awlen,     \
            model.port##_awsize, model.port##_awburst, model.port##_wvalid, model.port##_wready, \
            model.port##_wdata, model.port##_wstrb, model.port##_wlast, model.port##_bvalid,     \
            model.port##_bready, model.port##_bresp                                              \
    }

#define CONTROL_SIGNALS(model, port)                                                            \
    {                                                                                           \
        model.port##_awvalid, model.port##_awready, model.port##_awaddr, model.port##_wvalid,   \
            model.port##_wready, model.port##_wdata, model.port##_wstrb, model.port##_bvalid,   \
            model.port##_bready, model.port##_arvalid, model.port##_arready, model.port##_araddr, \
            model.port##_rvalid, model.port##_rready, model.port##_rdata                        \
    }
