// A team of threads that walks a list of calls together, and its scratch memory.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "vector.h"

namespace gearshift {

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

struct Range {
    int64_t first, last;
    int64_t size() const { return last - first; }
};

// Part `index` of `parts` of n things in order: as even as whole numbers can be.
inline Range split(int64_t n, int64_t parts, int64_t index) {
    return {n * index / parts, n * (index + 1) / parts};
}

// Bytes that a kernel needs beside its operands.
struct Scratch {
    int64_t shared = 0;   // of all threads together
    int64_t of_each = 0;  // of every thread for itself
};

// Aligned memory that only grows.
class Memory {
  public:
    ~Memory() { std::free(data_); }
    Memory() = default;
    Memory(const Memory &) = delete;
    bool reserve(int64_t bytes) {
        if (bytes <= size_) return true;
        std::free(data_);
        size_ = 0;
        data_ = std::aligned_alloc(LINE, static_cast<size_t>(round_up(bytes, LINE)));
        if (data_) size_ = bytes;
        return data_ != nullptr;
    }
    template <class T>
    T *at(int64_t byte = 0) const {
        return reinterpret_cast<T *>(static_cast<char *>(data_) + byte);
    }

  private:
    void *data_ = nullptr;
    int64_t size_ = 0;
};

GS_INLINE void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Everybody waits for everybody. Threads spin, since a wait lasts microseconds. One that waits
// longer gives its processor away now and then, since it may be the one waited for who has none,
// but not all the time: beside two busy processes on two processors a run of 5 ms then took 60
// and more, and 9 to 55 so (Linux 6.18).
class Barrier {
  public:
    explicit Barrier(int64_t threads) : threads_(threads) {}
    void wait() {
        if (threads_ == 1) return;
        const int64_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int64_t spins = 1; round_.load(std::memory_order_acquire) == round; spins++) {
            if (spins % SPINS != 0)
                pause();
            else
                std::this_thread::yield();
        }
    }

  private:
    static constexpr int64_t SPINS = 1000;
    const int64_t threads_;
    alignas(64) std::atomic<int64_t> arrived_{0};
    alignas(64) std::atomic<int64_t> round_{0};
};

// One thread of a team inside a kernel.
struct Worker {
    int64_t index, threads;
    Barrier *barrier;
    Memory *shared, *own;

    void wait() const { barrier->wait(); }
    Range share(int64_t n) const { return split(n, threads, index); }
};

class Team {
  public:
    explicit Team(int64_t threads) : threads_(threads), barrier_(threads), own_(threads) {
        for (int64_t index = 1; index < threads; index++)
            others_.emplace_back([this, index] { serve(index); });
    }
    ~Team() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (auto &thread : others_) thread.join();
    }

    bool reserve(Scratch scratch) {
        bool fits = shared_.reserve(scratch.shared);
        for (auto &memory : own_) fits = memory.reserve(scratch.of_each) && fits;
        return fits;
    }

    // Runs `work(context, worker)` on all threads, the caller's among them.
    void run(void (*work)(void *, const Worker &), void *context) {
        if (threads_ > 1) {
            {
                std::lock_guard<std::mutex> lock(mutex_);
                work_ = work;
                context_ = context;
                runs_++;
            }
            wake_.notify_all();
        }
        work(context, worker_of(0));
        barrier_.wait();
    }

  private:
    Worker worker_of(int64_t index) {
        return {index, threads_, &barrier_, &shared_, &own_[static_cast<size_t>(index)]};
    }

    void serve(int64_t index) {
        const Worker worker = worker_of(index);
        for (int64_t done = 0;; done++) {
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return stop_ || runs_ > done; });
                if (stop_) return;
            }
            work_(context_, worker);
            barrier_.wait();
        }
    }

    const int64_t threads_;
    Barrier barrier_;
    Memory shared_;
    std::vector<Memory> own_;
    std::vector<std::thread> others_;
    std::mutex mutex_;
    std::condition_variable wake_;
    void (*work_)(void *, const Worker &) = nullptr;
    void *context_ = nullptr;
    int64_t runs_ = 0;
    bool stop_ = false;
};

}  // namespace gearshift
