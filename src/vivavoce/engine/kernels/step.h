// One step of the language model for every row that has a frame (spec of the sizes: model.h):
//
//   x = sum of the embeddings;  for each layer: x += out(attend(rotate(qkv(norm1 x)))), x += outer(silu(gate) * up)
//   where [gate, up] = inner(norm2 x);  logits = heads(norm x)
//
// Threads share the rows of what is done row by row, the blocks of the products and the heads of the attention, and
// wait for one another between. Nothing is summed across threads: their number does not change a result.
#pragma once

struct Range {
    int from, to;
};
static inline Range share(int count, int thread, int threads) {
    return {(int)((int64_t)count * thread / threads), (int)((int64_t)count * (thread + 1) / threads)};
}

static inline void add_embedding(const Model& model, int64_t row, float* x) {
    if (model.embeddings_format == FLOAT32) {
        const float* from = (const float*)model.embeddings + row * model.dim;
        for (int i = 0; i < model.dim; i++) x[i] += from[i];
    } else {
        const uint16_t* from = (const uint16_t*)model.embeddings + row * model.dim;
        for (int i = 0; i < model.dim; i++) x[i] += from_bfloat16(from[i]);
    }
}

struct Stepping {
    const Step& step;
    const Model& model;
    const Memory& memory;
    const Call& call;
    const Workspace& work;
    const int thread, rows;
    float* const own;

    Stepping(const Step& s, int t)
        : step(s), model(*s.model), memory(*s.memory), call(*s.call), work(*s.work), thread(t),
          rows(s.call->batch * s.call->count), own(s.work->own + t * s.work->own_stride) {}

    void wait() const {
        if (step.threads > 1) crew_wait(step.crew);
    }
    Range mine(int count) const { return share(count, thread, step.threads); }
    int64_t place_of(int row) const { return call.position[call.slots[row / call.count]] + row % call.count; }

    void embed() const {
        const Range my = mine(rows);
        const int half = model.head_width / 2;
        for (int row = my.from; row < my.to; row++) {
            float* x = work.hidden + (int64_t)row * model.width;
            for (int i = 0; i < model.width; i++) x[i] = 0;
            if (call.text[row] >= 0) add_embedding(model, call.text[row], x);
            for (int q = 0; q < model.codebooks; q++) {
                const int64_t code = call.codes[(int64_t)row * model.codebooks + q];
                if (code >= 0) add_embedding(model, model.text_card + 1 + (int64_t)q * (model.card + 1) + code, x);
            }
            const double position = (double)place_of(row);
            for (int i = 0; i < half; i++) {
                const double angle = position * model.frequencies[i];
                work.cosine[(int64_t)row * half + i] = (float)__builtin_cos(angle);
                work.sine[(int64_t)row * half + i] = (float)__builtin_sin(angle);
            }
        }
    }

    // Rows of `from`, normed if there is a `norm`, as inputs of `w`.
    Inputs packed(const float* from, int stride, const float* norm, const Matrix& w) const {
        const Range my = mine(rows);
        const int64_t bytes = row_bytes(w.format, w.inputs), groups = w.format == INT4 ? w.inputs / GROUP : 1;
        for (int row = my.from; row < my.to; row++) {
            const float* x = from + (int64_t)row * stride;
            if (norm) normalise(x, norm, model.dim, model.width, own);
            pack(norm ? own : x, w.format, w.inputs, work.packed + row * bytes, work.scales + row * groups,
                 work.sums + row * groups);
        }
        wait();
        return {work.packed, bytes, work.scales, work.sums, groups};
    }

    template <class Sink> void multiply(const Matrix& w, const Inputs& x, int unit, Sink sink) const {
        const Range my = mine(w.outputs / CHANNELS / unit);
        product(w, x, rows, my.from * unit, my.to * unit, sink);
        wait();
    }

    void store_into(float* to, int stride, const Matrix& w, const Inputs& x) const {
        multiply(w, x, 1, [=](int row, int block, int blocks, const float* values) {
            __builtin_memcpy(to + (int64_t)row * stride + block * CHANNELS, values, (size_t)blocks * LINE);
        });
    }

    void add_to_hidden(const Matrix& w, const Inputs& x) const {
        multiply(w, x, 1, [this](int row, int block, int blocks, const float* values) {
            float* to = work.hidden + (int64_t)row * model.width + block * CHANNELS;
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

    // Every position of a call is in the ring before the first one attends: it has room for them.
    void attention(int layer) const {
        const Range my = mine(call.batch * model.head_count);
        const int width = model.head_width, half = width / 2, all = model.head_count * width;
        const float scale = 1.0f / __builtin_sqrtf((float)model.head_dim);
        for (int task = my.from; task < my.to; task++) {
            const int stream = task / model.head_count, head = task % model.head_count;
            const int64_t slot = call.slots[stream];
            const Ring ring = ring_of(memory, model, layer, slot, head);
            for (int row = stream * call.count; row < (stream + 1) * call.count; row++) {
                float* q = work.wide + (int64_t)row * work.widest + head * width;
                rotate(q, work.cosine + (int64_t)row * half, work.sine + (int64_t)row * half, half, scale);
                rotate(q + all, work.cosine + (int64_t)row * half, work.sine + (int64_t)row * half, half, 1);
                keep(ring, (int)(place_of(row) % ring.capacity), q + all, q + 2 * all);
            }
            for (int row = stream * call.count; row < (stream + 1) * call.count; row++) {
                const int64_t position = place_of(row), age = position + 1 - call.oldest[slot];
                attend(ring, work.wide + (int64_t)row * work.widest + head * width, position,
                       (int)(age < model.context ? age : model.context), own,
                       work.attended + (int64_t)row * model.layers[layer].out.inputs + head * width);
            }
        }
        wait();
    }

    void run() const {
        embed();
        for (int i = 0; i < model.layer_count; i++) {
            const Layer& layer = model.layers[i];
            store_into(work.wide, work.widest, layer.qkv, packed(work.hidden, model.width, layer.norm1, layer.qkv));
            attention(i);
            add_to_hidden(layer.out, packed(work.attended, layer.out.inputs, nullptr, layer.out));
            gate(layer.inner, packed(work.hidden, model.width, layer.norm2, layer.inner));
            add_to_hidden(layer.outer, packed(work.wide, work.widest, nullptr, layer.outer));
        }
        if (call.logits)
            store_into(call.logits, model.heads.outputs, model.heads,
                       packed(work.hidden, model.width, model.norm, model.heads));
    }
};
