// The next token, as nn/sampling.py draws it: the most probable one; or at a temperature, of those that top-k and then
// top-p keep, the winner of v_i - log E_i with v = logits / temperature, and E_i ~ Exp(1) a hash of (key, i).
//
// v, the hash and E are those of PyTorch bit for bit, so the choice is the same but where two tokens lie within a few
// units in the last place. The bound is V / LANES comparisons a pass of the search for the k-th largest, a dozen
// passes as a rule; of the noise, only what can still win is computed.
#pragma once
#include <stdlib.h>

struct Candidate {
    float value;
    int32_t token;
};

static inline uint32_t mixed(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x21F0AAADu;
    x = (x ^ (x >> 15)) * 0x735A2D97u;
    return x ^ (x >> 15);
}

// -log E for the hash's bits.
static inline float gumbel(uint32_t bits) {
    const double exponential = -__builtin_log(((double)bits + 0.5) * 0x1p-32);
    return -__builtin_logf((float)exponential);
}

// No less than `gumbel` of any bits with this highest byte. Made at the first draw: what runs when the library is loaded
// may not be of an instruction set that the machine lacks.
struct Bounds {
    float of[256];
    Bounds() {
        for (uint32_t byte = 0; byte < 256; byte++) of[byte] = gumbel(byte << 24 | 0xFFFFFF) + 1e-4f;
    }
};

static int64_t most_probable(const float* logits, int size) {
    int best = 0;
    for (int i = 1; i < size; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

// Integers in the order of the floats.
static inline Ints ordered(Floats v) {
    const Ints b = bits(v);
    return b ^ ((b >> 31) & 0x7FFFFFFF);
}

// The largest number that at least `count` of `order` [size, a multiple of LANES] reach.
static int32_t reached_by(const int32_t* order, int size, int64_t count) {
    uint32_t found = 0;  // with the sign bit flipped
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        const int32_t least = (int32_t)((found | bit) ^ 0x80000000u);
        Ints reached{};
        for (int i = 0; i < size; i += LANES) reached -= load<Ints>(order + i) >= least;
        const int32_t here = sum(reached);
        if (here >= count) found |= bit;
        if (here == count) break;
    }
    return (int32_t)(found ^ 0x80000000u);
}

static int falling(const void* a, const void* b) {
    const Candidate &first = *(const Candidate*)a, &second = *(const Candidate*)b;
    if (first.value != second.value) return first.value < second.value ? 1 : -1;
    return first.token - second.token;
}

// How many of the candidates, then sorted, top-p keeps: each whose forerunners have no more than p of the whole.
static int nucleus(Candidate* candidates, int count, float top_p) {
    qsort(candidates, (size_t)count, sizeof *candidates, falling);
    float total = 0;
    for (int i = 0; i < count; i++) total += __builtin_expf(candidates[i].value - candidates[0].value);
    double before = 0;
    for (int i = 0; i < count; i++) {
        const float share = __builtin_expf(candidates[i].value - candidates[0].value) / total;
        before += share;
        if ((float)before - share > top_p) return i;
    }
    return count;
}

// own: 4 floats for each of `size`, rounded up to LANES. last: the rank of the last token that top-k keeps, from 0.
static int64_t draw(const float* logits, int size, float temperature, int64_t last, float top_p, int64_t key, float* own) {
    static const Bounds bounds;
    if (!(temperature > 0)) return most_probable(logits, size);
    const int padded = (size + LANES - 1) / LANES * LANES;
    const float heat = temperature > 1e-6f ? temperature : 1e-6f;
    int32_t* order = (int32_t*)(own + padded);
    for (int i = 0; i < size; i++) own[i] = logits[i] / heat + 0.0f;
    for (int i = size; i < padded; i++) own[i] = -__builtin_inff();
    Candidate* candidates = (Candidate*)(own + 2 * padded);
    int count = 0;
    if (last + 1 >= size) {
        for (int i = 0; i < size; i++) candidates[count++] = {own[i], i};
    } else {
        for (int i = 0; i < padded; i += LANES) store(order + i, ordered(load<Floats>(own + i)));
        const int32_t least = reached_by(order, padded, last + 1);
        for (int i = 0; i < size; i++)
            if (order[i] >= least) candidates[count++] = {own[i], i};
    }
    if (top_p > 0) count = nucleus(candidates, count, top_p);
    float best = -__builtin_inff();
    int64_t winner = count ? candidates[0].token : 0;
    for (int i = 0; i < count; i++) {
        const uint32_t noise = mixed((uint32_t)key ^ mixed((uint32_t)candidates[i].token + 0x9E3779B9u));
        if (candidates[i].value + bounds.of[noise >> 24] < best) continue;
        const float value = candidates[i].value + gumbel(noise);
        if (value > best) best = value, winner = candidates[i].token;
    }
    return winner;
}
