// The threads of a step: the caller and its helpers, who sleep between steps and spin, yielding, within one.
#include "crew.h"
#include "laps.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {
constexpr int SPINS = 2000;  // some tens of microseconds; then the processor is offered to whoever else wants it

// Numbers below 1e-38 count as zero while this lives: they are slow and nobody hears them.
struct FlushDenormals {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#endif
};

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}
}  // namespace

struct Crew {
    const int threads;
    std::atomic<int> waiting{0}, generation{0};
    std::mutex mutex;
    std::condition_variable called;
    Task function = nullptr;
    const void* argument = nullptr;
    long calls = 0;
    bool over = false;
    std::vector<std::thread> helpers;
    int avoided = -1;

    explicit Crew(int count) : threads(count) {
        for (int thread = 1; thread < threads; thread++) helpers.emplace_back([this, thread] { serve(thread); });
    }

    ~Crew() {
        {
            std::lock_guard<std::mutex> lock(mutex);
            over = true;
        }
        called.notify_all();
        for (auto& helper : helpers) helper.join();
    }

    void serve(int thread) {
        FlushDenormals flush;
        for (long seen = 0;; seen++) {
            std::unique_lock<std::mutex> lock(mutex);
            called.wait(lock, [&] { return over || calls > seen; });
            if (over) return;
            lock.unlock();
            function(argument, thread);
            wait();
        }
    }

    // Two threads that yield to each other on one processor look busy there and may stay for good, while another idles:
    // helpers keep off the caller's, wherever that is now.
    void spread() {
#if defined(__linux__)
        const int here = sched_getcpu();
        cpu_set_t allowed;
        if (here < 0 || here == avoided || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
        avoided = here;
        CPU_CLR(here, &allowed);
        if (CPU_COUNT(&allowed) < threads - 1) return;
        for (auto& helper : helpers) pthread_setaffinity_np(helper.native_handle(), sizeof allowed, &allowed);
#endif
    }

    void run(Task what, const void* with) {
        FlushDenormals flush;
        if (threads > 1) {
            spread();
            {
                std::lock_guard<std::mutex> lock(mutex);
                function = what;
                argument = with;
                calls++;
            }
            called.notify_all();
        }
        what(with, 0);
        wait();
    }

    void wait() {
        if (threads == 1) return;
        const int mine = generation.load(std::memory_order_acquire);
        if (waiting.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
            waiting.store(0, std::memory_order_relaxed);
            generation.store(mine + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; generation.load(std::memory_order_acquire) == mine; spins++) {
            relax();
            if (spins > SPINS) sched_yield();
        }
    }
};

Crew* crew_of(int threads) { return new Crew(threads); }
void crew_dismiss(Crew* crew) { delete crew; }
int crew_size(const Crew* crew) { return crew->threads; }
void crew_run(Crew* crew, Task what, const void* with) { crew->run(what, with); }
void crew_wait(Crew* crew) { crew->wait(); }

#ifdef WITH_LAPS
#include <time.h>
namespace {
double spent[LAPS], last;
double clock_now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
}  // namespace

void crew_lap(int part) {
    const double now = clock_now();
    spent[part] += now - last;
    last = now;
}

// Seconds of every part since the last call, which begins to count anew.
extern "C" __attribute__((visibility("default"))) void vivavoce_laps(double* to) {
    for (int i = 0; i < LAPS; i++) to[i] = spent[i], spent[i] = 0;
    last = clock_now();
}
#endif
