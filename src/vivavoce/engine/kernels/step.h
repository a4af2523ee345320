// One step of the language model for every row that has a frame (spec of the sizes: model.h):
//
//   x = sum of the embeddings;  for each layer: x += out(attend(rotate(qkv(norm1 x)))), x += cross(x) (cross.h) where
//   there is a source, x += outer(silu(gate) * up) where [gate, up] = inner(norm2 x);  logits = heads(norm x)
//
// Threads share rows and blocks as part.h has it, and the heads of the attention.
#pragma once

struct Stepping : Part {
    const Model& model;
    const Memory& memory;
    const Call& call;

    Stepping(const Step& s, int t)
        : Part(s.crew, *s.work, t, s.call->batch * s.call->count, s.model->dim, s.model->width), model(*s.model),
          memory(*s.memory), call(*s.call) {}

    int64_t place_of(int row) const { return call.position[call.slots[row / call.count]] + row % call.count; }

    void add_embedding(int64_t row, float* x) const {
        add_row(model.embeddings, model.embeddings_format, row, dim, x);
    }

    // A text id may stand for two: (second + 1) * ids + first, each with a table of its own.
    void add_text(int64_t id, float* x) const {
        const int64_t ids = model.text_card + 1;
        if (id < 0) return;
        if (!model.pairs) return add_embedding(id, x);
        add_row(model.pairs, model.embeddings_format, id % ids, dim, x);
        if (id >= ids) add_row(model.pairs, model.embeddings_format, ids + id / ids - 1, dim, x);
    }

    void embed() const {
        const Range my = mine(rows);
        const int half = model.head_width / 2;
        for (int row = my.from; row < my.to; row++) {
            float* x = work.hidden + (int64_t)row * width;
            const float* added = call.added ? call.added + call.slots[row / call.count] * width : nullptr;
            for (int i = 0; i < width; i++) x[i] = added ? added[i] : 0;
            add_text(call.text[row], x);
            for (int q = 0; q < model.codebooks; q++) {
                const int64_t code = call.codes[(int64_t)row * model.codebooks + q];
                if (code >= 0) add_embedding(model.text_card + 1 + (int64_t)q * (model.card + 1) + code, x);
            }
            const double position = (double)place_of(row);
            for (int i = 0; i < half; i++) {
                const double angle = position * model.frequencies[i];
                work.cosine[(int64_t)row * half + i] = (float)__builtin_cos(angle);
                work.sine[(int64_t)row * half + i] = (float)__builtin_sin(angle);
            }
        }
    }

    // Every position of a call is in the ring before the first one attends: it has room for them.
    void attention(int layer) const {
        const Range my = mine(call.batch * model.head_count);
        const int width = model.head_width, half = width / 2, all = model.head_count * width;  // of a head
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

    void listen() const {
        const Range my = mine(rows);
        for (int row = my.from; row < my.to; row++)
            normalise(work.hidden + (int64_t)row * width, model.norm, dim, width, call.heard + (int64_t)row * width);
    }

    void run() const {
        embed();
        for (int i = 0; i < model.layer_count; i++) {
            const Layer& layer = model.layers[i];
            store_into(work.wide, work.widest, layer.qkv, packed(work.hidden, width, layer.norm1, layer.qkv));
            attention(i);
            add_to_hidden(layer.out, packed(work.attended, layer.out.inputs, nullptr, layer.out));
            if (call.source) cross(*this, model, *call.source, i, call.slots, call.count);
            gate(layer.inner, packed(work.hidden, width, layer.norm2, layer.inner));
            add_to_hidden(layer.outer, packed(work.wide, work.widest, nullptr, layer.outer));
        }
        if (call.logits)
            store_into(call.logits, model.heads.outputs, model.heads,
                       packed(work.hidden, width, model.norm, model.heads));
        if (call.heard) listen();
    }
};
