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
#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
#include "../src/vivavoce/engine/kernels/amx.h"
#include "../src/vivavoce/engine/kernels/tiles.h"
#endif

namespace {
constexpr long TURNS = 1000000, TRIES = 60, SIZE = 1L << 29;
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
// In assembly, as the compiler would keep some of the sums in memory.
#define ADD(op, to) op " %%zmm30, %%zmm31, %%zmm" #to "\n"
#define SIX(op, a, b, c, d, e, f) ADD(op, a) ADD(op, b) ADD(op, c) ADD(op, d) ADD(op, e) ADD(op, f)
#define PRODUCTS(name, op, of_an_instruction)                                                                       \
    {                                                                                                               \
        const double seconds = fastest([](int) {                                                                    \
            long left = TURNS;                                                                                      \
            asm volatile("1:\n" SIX(op, 0, 1, 2, 3, 4, 5) SIX(op, 6, 7, 8, 9, 10, 11) "dec %0\n jnz 1b"             \
                         : "+r"(left)::"zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", \
                           "zmm10", "zmm11", "cc");                                                                 \
        });                                                                                                         \
        printf("%-8s %6.0f billion products a second\n", name, 2.0 * TURNS * 12 * of_an_instruction / seconds / 1e9); \
    }
#endif

#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
// `add` adds to each of tiles 0 to 3 a product of tiles 4 and 5.
template <class Add> void tiles(const char* name, int of_an_instruction, Add add) {
    const double seconds = fastest([=](int) {
        TileShapes shapes;
        for (int tile = 0; tile < 6; tile++) shapes.rows[tile] = 16, shapes.bytes[tile] = 64;
        alignas(64) uint16_t ones[16 * 32];
        for (auto& one : ones) one = 0x3f80;  // of bfloat16; not zeros, which may cost less
        configure_tiles(shapes);
        load_tile<4>(ones, 64);
        load_tile<5>(ones, 64);
        for (long i = 0; i < TURNS; i++) add();
        release_tiles();
    });
    printf("%-8s %6.0f billion products a second\n", name, 2.0 * TURNS * 4 * of_an_instruction / seconds / 1e9);
}
#endif
}  // namespace

int main() {
#if defined(__AVX512F__)
    PRODUCTS("fp32", "vfmadd231ps", 16)
#if defined(__AVX512BF16__)
    PRODUCTS("bf16", "vdpbf16ps", 32)
#endif
#if defined(__AVX512VNNI__)
    PRODUCTS("int8", "vpdpbusd", 64)
#endif
#if defined(__AMX_INT8__) && defined(__AMX_BF16__)
    if (amx_is_granted()) {
        tiles("bf16 AMX", 16 * 16 * 32, [] {
            add_bfloat16<0, 4, 5>(), add_bfloat16<1, 4, 5>(), add_bfloat16<2, 4, 5>(), add_bfloat16<3, 4, 5>();
        });
        tiles("int8 AMX", 16 * 16 * 64, [] {
            add_signed_unsigned<0, 4, 5>(), add_signed_unsigned<1, 4, 5>();
            add_signed_unsigned<2, 4, 5>(), add_signed_unsigned<3, 4, 5>();
        });
    }
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
