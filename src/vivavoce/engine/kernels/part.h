// What every step is made of: the part of one thread in products and in what is done to rows between them.
//
// Threads share the rows of what is done row by row and the blocks of the products, and wait for one another between.
// Nothing is summed across threads: their number does not change a result.
#pragma once

struct Range {
    int from, to;
};
static inline Range share(int count, int thread, int threads) {
    return {(int)((int64_t)count * thread / threads), (int)((int64_t)count * (thread + 1) / threads)};
}

// x += row of a table of `dim` wide rows
static inline void add_row(const void* table, int format, int64_t row, int dim, float* x) {
    if (format == FLOAT32) {
        const float* from = (const float*)table + row * dim;
        for (int i = 0; i < dim; i++) x[i] += from[i];
    } else {
        const uint16_t* from = (const uint16_t*)table + row * dim;
        for (int i = 0; i < dim; i++) x[i] += from_bfloat16(from[i]);
    }
}

struct Part {
    Crew* const crew;
    const Workspace& work;
    const int thread, threads, rows;
    const int dim, width;  // of the residual stream work.hidden
    float* const own;

    Part(Crew* c, const Workspace& w, int t, int r, int d, int padded)
        : crew(c), work(w), thread(t), threads(crew_size(c)), rows(r), dim(d), width(padded), own(w.own + t * w.own_stride) {}

    void wait() const {
        if (threads > 1) crew_wait(crew);
    }
    Range mine(int count) const { return share(count, thread, threads); }

    // Rows of `from`, normed if there is a `norm` (with a `bias`, also centred), as inputs of `w`.
    Inputs packed(const float* from, int stride, const float* norm, const Matrix& w, const float* bias = nullptr) const {
        const Range my = mine(rows);
        const int64_t bytes = row_bytes(w.format, w.inputs);
        for (int row = my.from; row < my.to; row++) {
            const float* x = from + (int64_t)row * stride;
            if (bias)
                centre(x, norm, bias, dim, width, own);
            else if (norm)
                normalise(x, norm, dim, width, own);
            pack(norm ? own : x, w.format, w.inputs, work.packed + row * bytes, work.scales + row,
                 work.sums + row);
        }
        wait();
        lap(thread, PACKING);
        return {work.packed, bytes, work.scales, work.sums};
    }

    template <class Sink> void multiply(const Matrix& w, const Inputs& x, int unit, Sink sink) const {
        const Range my = mine(w.outputs / CHANNELS / unit);
        product(w, x, rows, my.from * unit, my.to * unit, sink);
        wait();
        lap(thread, PRODUCTS);
    }

    void store_into(float* to, int stride, const Matrix& w, const Inputs& x) const {
        multiply(w, x, 1, [=](int row, int block, int blocks, const float* values) {
            float* first = to + (int64_t)row * stride + block * CHANNELS;
            for (int i = 0; i < blocks * CHANNELS; i += LANES) store(first + i, load<Floats>(values + i));
        });
    }

    void add_to_hidden(const Matrix& w, const Inputs& x) const {
        multiply(w, x, 1, [this](int row, int block, int blocks, const float* values) {
            float* to = work.hidden + (int64_t)row * width + block * CHANNELS;
            for (int i = 0; i < blocks * CHANNELS; i += LANES) store(to + i, load<Floats>(to + i) + load<Floats>(values + i));
        });
    }

    void gate(const Matrix& w, const Inputs& x) const {
        multiply(w, x, 2, [this](int row, int block, int blocks, const float* values) {
            for (int b = 0; b < blocks; b++, block++, values += CHANNELS) {
                float* to = work.wide + (int64_t)row * work.widest + block / 2 * CHANNELS;
                for (int i = 0; i < CHANNELS; i += LANES) {
                    const Floats v = load<Floats>(values + i), g = load<Floats>(to + i);
                    store(to + i, block % 2 ? g / (1.0f + exponential(-g)) * v : v);
                }
            }
        });
    }
};
