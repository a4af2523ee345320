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
    const Streams streams;

    Stepping(const Step& s, int t)
        : Part(s.crew, *s.work, t, s.call->batch * s.call->count, s.model->dim, s.model->width), model(*s.model),
          memory(*s.memory), call(*s.call), streams{call.slots, call.position, call.oldest, call.batch, call.count} {}

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
        for (int row = my.from; row < my.to; row++) {
            float* x = work.hidden + (int64_t)row * width;
            const float* added = call.added ? call.added + streams.slot_of(row) * width : nullptr;
            for (int i = 0; i < width; i++) x[i] = added ? added[i] : 0;
            add_text(call.text[row], x);
            for (int q = 0; q < model.codebooks; q++) {
                const int64_t code = call.codes[(int64_t)row * model.codebooks + q];
                if (code >= 0) add_embedding(model.text_card + 1 + (int64_t)q * (model.card + 1) + code, x);
            }
            turn(*this, model, streams, row);
        }
    }

    void listen() const {
        const Range my = mine(rows);
        for (int row = my.from; row < my.to; row++)
            normalise(work.hidden + (int64_t)row * width, model.norm, dim, width, call.heard + (int64_t)row * width);
    }

    void answer() const {
        const Range my = mine(rows);
        for (int row = my.from; row < my.to; row++) {
            const float* logits = call.logits + (int64_t)row * model.heads.outputs;
            float top;
            call.token[row] = first_of_largest(logits, model.text_count, &top);
            call.norm[row] = log_of_sum(logits, model.text_count, top);
            call.logprob[row] = top - call.norm[row];
            for (int head = 0; head < model.pause_heads; head++)
                call.pauses[(int64_t)row * model.pause_heads + head] =
                    share_of_first(logits + model.text_count + head * model.pause_classes, model.pause_classes);
        }
    }

    void run() const {
        embed();
        lap(thread, EMBEDDING);
        for (int i = 0; i < model.layer_count; i++) {
            const Layer& layer = model.layers[i];
            store_into(work.wide, work.widest, layer.qkv, packed(work.hidden, width, layer.norm1, layer.qkv));
            attend_turned(*this, model, memory, streams, i);
            add_to_hidden(layer.out, packed(work.attended, layer.out.inputs, nullptr, layer.out));
            if (call.source) cross(*this, model, *call.source, i, call.slots, call.count);
            gate(layer.inner, packed(work.hidden, width, layer.norm2, layer.inner));
            add_to_hidden(layer.outer, packed(work.wide, work.widest, nullptr, layer.outer));
        }
        if (call.logits)
            store_into(call.logits, model.heads.outputs, model.heads,
                       packed(work.hidden, width, model.norm, model.heads));
        if (call.token) answer();
        if (call.heard) listen();
    }
};
