// What the codec does to single numbers: ELU and GELU; and who shares a piece of its work.
#pragma once

// Who shares a piece of work: the whole crew, or a thread by itself.
struct Team {
    int thread, threads;
    Crew* crew;

    Range mine(int count) const { return share(count, thread, threads); }
    void wait() const {
        if (threads > 1) crew_wait(crew);
    }
};

// x, or e^x - 1 where x < 0; near zero as exact as x
static inline Floats elu(Floats x) {
    const Exponential e = exponential_of(larger(smaller(x, Floats{}), all(-87.0f)));
    return larger(x, Floats{}) + (e.more * e.scale + (e.scale - 1.0f));
}

// Rational function of Eigen's, some units of the last place; beyond 4 it is 1.
static inline Floats error_function(Floats x) {
    x = smaller(larger(x, all(-4.0f)), all(4.0f));
    const Floats s = x * x;
    Floats p = all(-2.72614225801306e-10f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    Floats q = all(-1.45660718464996e-05f);
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return x * p / q;
}

static inline Floats gelu(Floats x) { return x * 0.5f * (1.0f + error_function(x * 0.707106781f)); }

// The first `count` numbers of a vector, all of it when there are as many.
static inline void store_some(float* to, Floats v, int count) {
    if (count >= LANES) return store(to, v);
    __builtin_memcpy(to, &v, (size_t)count * 4);
}

// Numbers in one of the formats that a window may have; bytes are put there by `round_frame` (codec_conv.h).
struct Window {
    uint8_t* const data;
    const int format;

    int size() const { return format == FLOAT32 ? 4 : format == BFLOAT16 ? 2 : 1; }
    uint8_t* at(int64_t index) const { return data + index * size(); }
    void clear(int64_t index, int count) const { __builtin_memset(at(index), 0, (size_t)count * size()); }
    void put(int64_t index, Floats v, int count) const {
        if (format == FLOAT32) return store_some((float*)at(index), v, count);
        if (count >= LANES) return narrow_bfloat16(v, (uint16_t*)at(index));
        uint16_t halves[LANES];
        narrow_bfloat16(v, halves);
        __builtin_memcpy(at(index), halves, (size_t)count * 2);
    }
};
