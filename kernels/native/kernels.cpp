// All kernels of one instruction set behind the interface: which function a call means.

#include "attention.h"
#include "convolution.h"
#include "experts.h"
#include "linear.h"
#include "norm.h"
#include "patch_embedding.h"
#include "peak.h"
#include "resize.h"
#include "router.h"

namespace gearshift {
namespace {

struct Entry {
    Scratch (*scratch)(const void *arguments);
    void (*run)(const void *arguments, const Worker &worker);
};

template <class Kernel, class Arguments>
constexpr Entry entry() {
    return {[](const void *a) { return Kernel::scratch(*static_cast<const Arguments *>(a)); },
            [](const void *a, const Worker &worker) {
                Kernel::run(*static_cast<const Arguments *>(a), worker);
            }};
}

template <int64_t PRECISION>
constexpr Entry ENTRIES[GS_KERNELS] = {
    entry<Linear<PRECISION>, GsLinear>(),
    entry<PatchEmbedding<PRECISION>, GsPatchEmbedding>(),
    entry<Attention<PRECISION>, GsAttention>(),
    entry<LayerNorm<PRECISION>, GsLayerNorm>(),
    entry<Router<PRECISION>, GsRouter>(),
    entry<Experts<PRECISION>, GsExperts>(),
    entry<Combine, GsCombine>(),
    entry<Convolution<PRECISION>, GsConvolution>(),
    entry<Resize, GsResize>(),
};

const Entry &find(const GsCall &call) {
    switch (call.precision) {
        case GS_FLOAT32: return ENTRIES<GS_FLOAT32>[call.kernel];
        case GS_INT8: return ENTRIES<GS_INT8>[call.kernel];
        default: return ENTRIES<GS_BFLOAT16>[call.kernel];
    }
}

struct Walk {
    const GsCall *calls;
    int64_t count;
    double *seconds;
};

double now() {
    using Clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

void walk(void *context, const Worker &worker) {
    const Walk &plan = *static_cast<const Walk *>(context);
#if defined(GS_AMX)
    AmxState state;
#endif
    double before = worker.index == 0 && plan.seconds ? now() : 0;
    for (int64_t i = 0; i < plan.count; i++) {
        find(plan.calls[i]).run(plan.calls[i].arguments, worker);
        worker.wait();
        if (worker.index == 0 && plan.seconds) {
            const double after = now();
            plan.seconds[i] = after - before;
            before = after;
        }
    }
}

}  // namespace
}  // namespace gearshift

using gearshift::Team;

void *gs_open(int64_t threads) {
    try {
        return new Team(threads);
    } catch (...) {  // no memory, or no more threads
        return nullptr;
    }
}

void gs_close(void *team) { delete static_cast<Team *>(team); }

int gs_reserve(void *team, const GsCall *calls, int64_t count) {
    gearshift::Scratch most;
    for (int64_t i = 0; i < count; i++) {
        auto need = gearshift::find(calls[i]).scratch(calls[i].arguments);
        most.shared = need.shared > most.shared ? need.shared : most.shared;
        most.of_each = need.of_each > most.of_each ? need.of_each : most.of_each;
    }
    return static_cast<Team *>(team)->reserve(most) ? 0 : -1;
}

void gs_run(void *team, const GsCall *calls, int64_t count, double *seconds) {
    gearshift::Walk plan{calls, count, seconds};
    static_cast<Team *>(team)->run(gearshift::walk, &plan);
}

const char *gs_level(void) { return GS_LEVEL; }

double gs_peak_macs(int64_t precision) { return gearshift::peak_macs(precision); }
