// Split residual vector quantisation, codes[0] of the semantic half, the others of the acoustic chain:
//
//   code = argmax_c r e_c - |e_c|^2 / 2;  r -= e_code
//
// The bound is reading the books once a step. Where they are kept rounded, a score is off by at most
// |r| |e - w| + |r - r'| |w|: every entry that could be the best within that is scored again in fp32, so codes are exact.
#pragma once

static inline float dot(const float* a, const float* b, int width) {
    Floats total{};
    for (int i = 0; i < width; i += LANES) total += load<Floats>(a + i) * load<Floats>(b + i);
    return sum(total);
}

// The first of the highest scores, [bins] padded with numbers below all of them.
static inline int best_of(const float* scores, int count) {
    Floats most = load<Floats>(scores);
    Ints index, best;
    for (int j = 0; j < LANES; j++) index[j] = best[j] = j;
    for (int i = LANES; i < count; i += LANES) {
        index += LANES;
        const Floats score = load<Floats>(scores + i);
        best = choose(score > most, index, best);
        most = larger(score, most);
    }
    int first = best[0];
    float top = most[0];
    for (int j = 1; j < LANES; j++)
        if (most[j] > top || (most[j] == top && best[j] < first)) top = most[j], first = best[j];
    return first;
}

// `off`: how far the packed residual may be from r.
static inline int exact_best(const Book& book, const float* scores, int count, const float* r, int width, float off) {
    const int first = best_of(scores, count);
    if (book.w.format == FLOAT32) return first;
    const float length = __builtin_sqrtf(dot(r, r, width));
    const float doubt = length * book.rounded + off * book.longest + 1e-5f * length * book.longest;
    const float least = scores[first] - 2 * doubt;
    int best = -1;
    float most = 0;
    for (int c = 0; c < count; c++) {
        if (!(scores[c] >= least)) continue;
        const float score = dot(r, book.entries + (int64_t)c * width, width) - book.halves[c];
        if (best < 0 || score > most) best = c, most = score;
    }
    return best < 0 ? first : best;
}

// How far a row of inputs may be from the numbers that it was packed from.
static inline float packing_error(const Matrix& w, const float* r) {
    return w.format == FLOAT32 ? 0 : __builtin_sqrtf(dot(r, r, w.inputs)) / 256;
}

// Rows of latents, packed, to codes [frames][codebooks].
static void quantise(const CodecStepping& step, const Quantiser& quantiser, const Inputs& latents) {
    const Workspace& work = step.work;
    float* scores = step.scratch.scores;
    const int width = quantiser.width, count = step.call.codebooks;
    const Range my = step.mine(step.framewise.rows);
    step.framewise.store_into(work.wide, work.widest, quantiser.project, latents);
    for (int q = 0; q < count; q++) {
        const Book& book = quantiser.books[q];
        if (q < 2) {
            for (int row = my.from; row < my.to; row++)
                step.put_row(book.w, work.wide + (int64_t)row * work.widest + q * width, width, row);
            step.wait();
        }
        step.framewise.multiply(book.w, step.rows_of(book.w), 1, [&](int row, int block, int blocks, const float* values) {
            float* to = scores + (int64_t)row * book.w.outputs + block * CHANNELS;
            for (int i = 0; i < blocks * CHANNELS; i += LANES)
                store(to + i, load<Floats>(values + i) - load<Floats>(book.halves + block * CHANNELS + i));
        });
        for (int row = my.from; row < my.to; row++) {
            float* r = work.wide + (int64_t)row * work.widest + (q > 0) * width;
            const float off = packing_error(book.w, r);
            const int code = exact_best(book, scores + (int64_t)row * book.w.outputs, quantiser.bins, r, width, off);
            step.call.codes[(int64_t)row * count + q] = code;
            const float* entry = book.entries + (int64_t)code * width;
            for (int i = 0; i < width; i += LANES) store(r + i, load<Floats>(r + i) - load<Floats>(entry + i));
            if (q > 0) step.put_row(book.w, r, width, row);
        }
        step.wait();
        lap(step.thread, QUANTISER);
    }
}
