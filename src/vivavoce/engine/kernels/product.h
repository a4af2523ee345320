// Y = X W^T for a few rows of X: the step's bound is reading W once, at the speed of memory.
//
// W lies in blocks of 16 outputs, one 64-byte line a step of 1, 2, 4 or 8 inputs (model.h). A tile multiplies up to
// ROWS rows with up to BLOCKS blocks: each line is loaded once and used by every row of the tile, an input is broadcast
// and used by every block; the accumulators stay in registers. Further rows find the same lines in the cache.
// Each result is one sum in the order of its inputs, so a row's results do not depend on the rows beside it.
#pragma once

// Rows of inputs in the format of the matrix that they meet: floats, pairs of bfloat16, or bytes with a scale for each row.
// Of two bytes that are multiplied one is unsigned. INT8: the weight, u - 128, so that a row needs the sum of its bytes.
// INT4: the input, u - 128, since half a byte is signed as it lies in the upper half; a matrix knows the sums of its own.
struct Inputs {
    const uint8_t* data;
    int64_t stride;  // bytes from row to row
    const float *scales, *sums;
};

// Where the lines of a matrix are.
struct Lines {
    const uint8_t* data;
    int64_t block, step;  // bytes from block to block, from step to step
    int32_t steps;
};

constexpr int NEAR = 1024;  // bytes ahead, of a tile's own lines that are asked for

// Lines to ask the memory for meanwhile: so many at every step of a tile, from here on; and into the first cache, where
// `near` says so, the tile's own ones of some steps later.
struct Ahead {
    const uint8_t* line;
    int64_t step;
    int lines;
    bool near;

    inline void ask() {
        for (int i = 0; i < lines; i++) __builtin_prefetch(line + i * LINE, 0, 2);
        line += step;
    }
    template <int NB> inline void ask(const uint8_t* own, int64_t block) {
        if (near)
            for (int b = 0; b < NB; b++) __builtin_prefetch(own + b * block + NEAR, 0, 3);
        ask();
    }
};

// Intel's processors wait for lines that AMD's see coming, which are slower when asked.
static inline bool needs_asking() {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

static inline int inputs_of_a_step(int format) { return format == INT4 ? 8 : 1 << format; }

struct Float32 {
    typedef Floats Sum;
    static inline Sum add(Sum sum, Ints w, int32_t x) { return sum + floats(w) * floats(all(x)); }
};
struct Bfloat16 {
    typedef Floats Sum;
    static inline Sum add(Sum sum, Ints w, int32_t x) { return dot_bfloat16(sum, w, all(x)); }
};
struct Int8 {
    typedef Ints Sum;
    static inline Sum add(Sum sum, Ints w, int32_t x) { return dot_bytes(sum, w, all(x)); }
};

template <class Kind, int M, int NB>
static inline void accumulate(const Lines& w, const uint8_t* line, const Inputs& x, const uint8_t* row, Ahead ahead,
                              typename Kind::Sum (&sums)[M][NB][PARTS]) {
    for (int m = 0; m < M; m++)
        for (int b = 0; b < NB; b++)
            for (int p = 0; p < PARTS; p++) sums[m][b][p] = typename Kind::Sum{};
    for (int k = 0; k < w.steps; k++, line += w.step) {
        ahead.ask<NB>(line, w.block);
        Ints weights[NB][PARTS];
#pragma GCC unroll 8
        for (int b = 0; b < NB; b++)
#pragma GCC unroll 4
            for (int p = 0; p < PARTS; p++) weights[b][p] = load<Ints>(line + b * w.block + p * LANES * 4);
#pragma GCC unroll 8
        for (int m = 0; m < M; m++) {
            int32_t input;
            __builtin_memcpy(&input, row + m * x.stride + k * 4, 4);
#pragma GCC unroll 8
            for (int b = 0; b < NB; b++)
#pragma GCC unroll 4
                for (int p = 0; p < PARTS; p++) sums[m][b][p] = Kind::add(sums[m][b][p], weights[b][p], input);
        }
    }
}

// out[M][NB * 16] = rows `row` and on times blocks `block` and on; bytes are left as integers, for the caller to scale
template <class Kind, int M, int NB>
static void plain_tile(const Lines& w, int block, const Inputs& x, int row, Ahead ahead, float* out) {
    typename Kind::Sum sums[M][NB][PARTS];
    accumulate<Kind, M, NB>(w, w.data + block * w.block, x, x.data + row * x.stride, ahead, sums);
    for (int m = 0; m < M; m++)
        for (int b = 0; b < NB; b++)
            for (int p = 0; p < PARTS; p++) store(out + (m * NB + b) * CHANNELS + p * LANES, sums[m][b][p]);
}

// The same for INT4, in units of the row's scale: integers of 16 w within a group of inputs, floats over the groups.
template <int M, int NB>
static void grouped_tile(const Lines& w, const float* scales, int block, const Inputs& x, int row, Ahead ahead, float* out) {
    constexpr int steps = GROUP / 8;
    const int groups = w.steps / steps;
    const auto scale_of = [=](int b, int group, int p) {
        return load<Floats>(scales + ((int64_t)(block + b) * (groups + 1) + group) * CHANNELS + p * LANES);
    };
    Floats totals[M][NB][PARTS];
    for (int m = 0; m < M; m++)
        for (int b = 0; b < NB; b++)
            for (int p = 0; p < PARTS; p++) totals[m][b][p] = scale_of(b, groups, p);
    const uint8_t* line = w.data + block * w.block;
    const int64_t next = (ahead.line - w.data) / w.block;
    Ahead scales_ahead = {(const uint8_t*)scales + next * (groups + 1) * LINE, ahead.step, ahead.lines, false};
    for (int g = 0; g < groups; g++) {
        scales_ahead.ask();
        Ints sums[M][NB][PARTS] = {};
        for (int k = 0; k < steps;) {
            Ints few[M][NB][PARTS] = {};
            for (const int end = k + TOGETHER; k < end; k++, line += w.step) {
                ahead.ask<NB>(line, w.block);
                Ints low[NB][PARTS], high[NB][PARTS];
#pragma GCC unroll 8
                for (int b = 0; b < NB; b++) {
#pragma GCC unroll 4
                    for (int p = 0; p < PARTS; p++) {
                        Ints both = load<Ints>(line + b * w.block + p * LANES * 4);
                        low[b][p] = lower_halves(both);
                        high[b][p] = upper_halves(both);
                    }
                }
#pragma GCC unroll 8
                for (int m = 0; m < M; m++) {
                    int32_t input[2];
                    __builtin_memcpy(input, x.data + (row + m) * x.stride + g * GROUP + k * 8, 8);
#pragma GCC unroll 8
                    for (int b = 0; b < NB; b++)
#pragma GCC unroll 4
                        for (int p = 0; p < PARTS; p++)
                            few[m][b][p] = add_halves(few[m][b][p], all(input[0]), all(input[1]), low[b][p], high[b][p]);
                }
            }
            for (int m = 0; m < M; m++)
                for (int b = 0; b < NB; b++)
                    for (int p = 0; p < PARTS; p++) sums[m][b][p] += widened(few[m][b][p]);
        }
        for (int m = 0; m < M; m++)
            for (int b = 0; b < NB; b++)
                for (int p = 0; p < PARTS; p++) totals[m][b][p] += converted(sums[m][b][p] << RAISED) * scale_of(b, g, p);
    }
    for (int m = 0; m < M; m++)
        for (int b = 0; b < NB; b++)
            for (int p = 0; p < PARTS; p++)
                store(out + (m * NB + b) * CHANNELS + p * LANES, totals[m][b][p] * x.scales[row + m]);
}

// Integers of INT8 to floats, in place.
static inline void scale_bytes(float* out, int rows, int blocks, const float* scales, int block, const Inputs& x, int row) {
    for (int m = 0; m < rows; m++) {
        const float scale = x.scales[row + m], offset = 128 * x.sums[row + m];
        for (int i = 0; i < blocks * CHANNELS; i += LANES) {
            float* at = out + m * blocks * CHANNELS + i;
            store(at, (converted(load<Ints>(at)) - offset) * (load<Floats>(scales + block * CHANNELS + i) * scale));
        }
    }
}

template <int M, int NB>
static void tile(int format, const Lines& w, const float* scales, int block, const Inputs& x, int row, Ahead ahead, float* out) {
    if (format == FLOAT32) return plain_tile<Float32, M, NB>(w, block, x, row, ahead, out);
    if (format == BFLOAT16) return plain_tile<Bfloat16, M, NB>(w, block, x, row, ahead, out);
    if (format == INT4) return grouped_tile<M, NB>(w, scales, block, x, row, ahead, out);
    plain_tile<Int8, M, NB>(w, block, x, row, ahead, out);
    scale_bytes(out, M, NB, scales, block, x, row);
}

template <int NB>
static void tile_of(int rows, int format, const Lines& w, const float* scales, int block, const Inputs& x, int row,
                    Ahead ahead, float* out) {
    switch (rows) {
#if defined(WIDE_VECTORS)
        case 6: return tile<6, NB>(format, w, scales, block, x, row, ahead, out);
        case 5: return tile<5, NB>(format, w, scales, block, x, row, ahead, out);
        case 4: return tile<4, NB>(format, w, scales, block, x, row, ahead, out);
#endif
#if defined(WIDE_VECTORS) || defined(__AVX2__)
        case 3: return tile<3, NB>(format, w, scales, block, x, row, ahead, out);
#endif
        case 2: return tile<2, NB>(format, w, scales, block, x, row, ahead, out);
        default: return tile<1, NB>(format, w, scales, block, x, row, ahead, out);
    }
}

#if defined(__AMX_TILE__)
#include "tiles.h"
#include "tiled_product.h"
#endif

// Blocks `from` to `to` of all rows. `sink(row, block, blocks, values)` is given each row's part of a tile; it always gets
// an even block with the odd one after it when `from` and `to` are even.
template <class Sink>
static void product(const Matrix& w, const Inputs& x, int rows, int from, int to, Sink sink) {
#if defined(__AMX_TILE__)
    if (w.format != FLOAT32) return tiled_product(w, x, rows, from, to, sink);
#endif
    const int most = w.format == INT4 ? HALVES_ROWS : ROWS;
    const int steps = w.inputs / inputs_of_a_step(w.format), passes = (rows + most - 1) / most;
    const Lines lines = {w.data, (int64_t)steps * LINE, LINE, steps};
    const bool near = needs_asking() && (w.format != INT4 || passes == 1);
    alignas(64) float out[ROWS * BLOCKS * CHANNELS];
    for (int block = from; block < to;) {
        const int blocks = to - block >= BLOCKS ? BLOCKS : to - block >= 2 && BLOCKS > 2 ? 2 : 1;
        for (int pass = 0; pass < passes; pass++) {
            const int row = rows * pass / passes, count = rows * (pass + 1) / passes - row;
            // All passes together ask for the lines of the next tile, so that these come while all of them multiply.
            const int each = (blocks + passes - 1) / passes;
            const Ahead ahead = {lines.data + (block + blocks + each * pass) * lines.block, each * LINE,
                                 block + blocks < to && each * pass < blocks ? each : 0, near};
            if (blocks == BLOCKS)
                tile_of<BLOCKS>(count, w.format, lines, w.scales, block, x, row, ahead, out);
            else if (blocks == 2)
                tile_of<2>(count, w.format, lines, w.scales, block, x, row, ahead, out);
            else
                tile_of<1>(count, w.format, lines, w.scales, block, x, row, ahead, out);
            for (int m = 0; m < count; m++) sink(row + m, block, blocks, out + m * blocks * CHANNELS);
        }
        block += blocks;
    }
}
