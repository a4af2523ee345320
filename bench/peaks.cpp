// What two threads of this machine do at most: products a second from registers, and bytes a second from memory.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <chrono>
#include <thread>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {
constexpr long TURNS = 1000000, TRIES = 60, SUMS = 16, SIZE = 1L << 29;
volatile float heard;

// Seconds of the fastest of many short tries, both threads at once.
template <class Work> double fastest(Work work) {
    double best = 1e9;
    for (int i = 0; i < TRIES; i++) {
        const auto begun = std::chrono::steady_clock::now();
        std::thread other(work, 1);
        work(0);
        other.join();
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
        best = took < best ? took : best;
    }
    return best;
}

#if defined(__AVX512F__)
template <class Add> void products(const char* name, int of_an_instruction, Add add) {
    const double seconds = fastest([&](int) {
        __m512i sums[SUMS];
        for (auto& sum : sums) sum = _mm512_setzero_si512();
        for (long i = 0; i < TURNS; i++)
#pragma GCC unroll 16
            for (int j = 0; j < SUMS; j++) {  // unrolled, or else the sums are in memory
                sums[j] = add(sums[j]);
                asm volatile("" : "+v"(sums[j]));
            }
        for (auto& sum : sums) heard = (float)_mm512_reduce_add_epi32(sum);
    });
    printf("%-8s %6.0f billion products a second\n", name, 2.0 * TURNS * SUMS * of_an_instruction / seconds / 1e9);
}
#endif
}  // namespace

int main() {
#if defined(__AVX512F__)
    const __m512i w = _mm512_set1_epi16(0x3f80);
    products("fp32", 16, [=](__m512i s) { return (__m512i)_mm512_fmadd_ps((__m512)w, (__m512)w, (__m512)s); });
#if defined(__AVX512BF16__)
    products("bf16", 32, [=](__m512i s) { return (__m512i)_mm512_dpbf16_ps((__m512)s, (__m512bh)w, (__m512bh)w); });
#endif
#if defined(__AVX512VNNI__)
    products("int8", 64, [=](__m512i s) { return _mm512_dpbusd_epi32(s, w, w); });
#endif
    char* memory = (char*)mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, SIZE, MADV_HUGEPAGE);
    memset(memory, 1, SIZE);
    const double seconds = fastest([=](int thread) {
        const char* from = memory + thread * (SIZE / 2);
        __m512i sums[8] = {};
        for (long i = 0; i < SIZE / 2; i += 512)
            for (int j = 0; j < 8; j++) sums[j] = _mm512_add_epi32(sums[j], _mm512_loadu_si512(from + i + 64 * j));
        for (auto& sum : sums) heard = (float)_mm512_reduce_add_epi32(sum);
    });
    printf("memory   %6.1f GB a second\n", SIZE / seconds / 1e9);
#endif
}
