// Vectors of LANES floats or int32 in the compiler's own vector types, so that one text serves every instruction set;
// below them the two products of bytes and of bfloat16 that instruction sets have of their own. With EMULATE_WIDE the compiler
// makes the vectors of AVX-512 of smaller ones: any machine then runs the text as AVX-512 has it.
#pragma once
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// HALVES_ROWS: of weights in halves of bytes, which take registers of their own.
#if defined(__AVX512F__) || defined(EMULATE_WIDE)
#define WIDE_VECTORS
constexpr int LANES = 16, ROWS = 6, HALVES_ROWS = 5, BLOCKS = 4, RING = 8;  // 24 accumulators of 32 registers, 16 over a ring
#elif defined(__AVX2__)
constexpr int LANES = 8, ROWS = 3, HALVES_ROWS = 3, BLOCKS = 2, RING = 2;   // 12 of 16
#else
constexpr int LANES = 4, ROWS = 2, HALVES_ROWS = 1, BLOCKS = 1, RING = 1;   // SSE2 and NEON: 8 of 16
#endif
constexpr int PARTS = CHANNELS / LANES;  // vectors of a block

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));

template <class V> static inline V load(const void* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}
template <class V> static inline void store(void* to, V v) { __builtin_memcpy(to, &v, sizeof v); }
static inline Floats all(float x) { return x - Floats{}; }
static inline Ints all(int32_t x) { return x - Ints{}; }
static inline Floats floats(Ints bits) { return (Floats)bits; }
static inline Ints bits(Floats v) { return (Ints)v; }
static inline Floats converted(Ints v) { return __builtin_convertvector(v, Floats); }
static inline Floats choose(Ints mask, Floats a, Floats b) { return floats((mask & bits(a)) | (~mask & bits(b))); }
static inline Ints choose(Ints mask, Ints a, Ints b) { return (mask & a) | (~mask & b); }
static inline Floats larger(Floats a, Floats b) { return choose(a > b, a, b); }
static inline Floats smaller(Floats a, Floats b) { return choose(a < b, a, b); }

static inline float sum(Floats v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}
static inline int32_t sum(Ints v) {
    typedef int32_t Four __attribute__((vector_size(16)));  // in any order: exact
    Four part[LANES / 4], total{};
    __builtin_memcpy(part, &v, sizeof v);
    for (const Four& four : part) total += four;
    return total[0] + total[1] + total[2] + total[3];
}
static inline void narrow(Ints v, int8_t* to) {  // to their low bytes
    typedef int8_t Bytes __attribute__((vector_size(LANES)));
    store(to, __builtin_convertvector(v, Bytes));
}
static inline float largest(Floats v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

constexpr float SHIFT = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
static inline Ints rounded(Floats v) { return bits(v + SHIFT) - 0x4B400000; }

// e^x = (more + 1) * scale for x in [-87, 88]; relative error 2e-7 (Cephes' polynomial after removing powers of two).
struct Exponential {
    Floats more, scale;
};
static inline Exponential exponential_of(Floats x) {
    const Ints power = rounded(x * 1.44269504f);
    const Floats n = converted(power), f = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 0.5f;
    return {p * f * f + f, floats((power + 127) << 23)};
}

// e^x, clamped outside.
static inline Floats exponential(Floats x) {
    const Exponential e = exponential_of(smaller(larger(x, all(-87.0f)), all(88.0f)));
    return (e.more + 1.0f) * e.scale;
}

static inline uint16_t to_bfloat16(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, 4);
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}
static inline void narrow_bfloat16(Floats v, uint16_t* to) {  // likewise, of a whole vector
    typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
    const Ints u = bits(v);
    store(to, __builtin_convertvector((u + 0x7FFF + ((u >> 16) & 1)) >> 16, Halves));
}
static inline float from_bfloat16(uint16_t x) {
    uint32_t u = (uint32_t)x << 16;
    float f;
    __builtin_memcpy(&f, &u, 4);
    return f;
}

// sum + a0 b0 + a1 b1 for the two bfloat16 of every 32 bits
static inline Floats dot_bfloat16(Floats sum, Ints a, Ints b) {
#if defined(__AVX512BF16__)
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    constexpr int32_t high = (int32_t)0xFFFF0000;
    return sum + floats(a << 16) * floats(b << 16) + floats(a & high) * floats(b & high);
#endif
}

// sum + the four products of unsigned bytes of `u` with signed bytes of `s`, in every 32 bits; exact
static inline Ints dot_bytes(Ints sum, Ints u, Ints s) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)u, (__m512i)s);
#elif defined(__AVXVNNI__)
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)u, (__m256i)s);
#elif defined(__AVX2__) && !defined(WIDE_VECTORS)  // not maddubs, which saturates
    __m256i even = _mm256_madd_epi16(_mm256_and_si256((__m256i)u, _mm256_set1_epi16(255)),
                                     _mm256_srai_epi16(_mm256_slli_epi16((__m256i)s, 8), 8));
    __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16((__m256i)u, 8), _mm256_srai_epi16((__m256i)s, 8));
    return sum + (Ints)_mm256_add_epi32(even, odd);
#else
    for (int j = 0; j < 4; j++) sum += ((u >> (8 * j)) & 255) * ((s << (24 - 8 * j)) >> 24);
    return sum;
#endif
}

// Products of which one factor is half a byte: u0 s0 + u1 s1 of unsigned bytes with signed ones, added to sums that after
// TOGETHER of these are `widened` to what dot_bytes sums. Signed halves are made bytes times 16, or times 16 / 2^RAISED.
#if defined(__AVX2__) && !defined(__AVXVNNI__) && !defined(WIDE_VECTORS)  // pairs of products, in 16 bits
constexpr int TOGETHER = 4, RAISED = 4;

static inline Ints add_halves(Ints sums, Ints u0, Ints u1, Ints s0, Ints s1) {
    const __m256i pairs = _mm256_add_epi16((__m256i)sums, _mm256_maddubs_epi16((__m256i)u0, (__m256i)s0));
    return (Ints)_mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)u1, (__m256i)s1));
}
static inline Ints widened(Ints sums) { return (Ints)_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(1)); }
static inline Ints lower_halves(Ints both) {
    const __m128i numbers = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
    return (Ints)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(numbers), (__m256i)(both & 0x0F0F0F0F));
}
static inline Ints upper_halves(Ints both) { return lower_halves(both >> 4); }
#else
constexpr int TOGETHER = 8, RAISED = 0;

static inline Ints add_halves(Ints sums, Ints u0, Ints u1, Ints s0, Ints s1) {
    return dot_bytes(dot_bytes(sums, u0, s0), u1, s1);
}
static inline Ints widened(Ints sums) { return sums; }
static inline Ints lower_halves(Ints both) { return (both << 4) & (int32_t)0xF0F0F0F0; }
static inline Ints upper_halves(Ints both) { return both & (int32_t)0xF0F0F0F0; }
#endif
