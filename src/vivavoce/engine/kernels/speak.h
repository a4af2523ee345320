// The depformer's threads; the formula is in depformer.h. Rows and blocks are shared as part.h has it.
#pragma once

struct Speaking : Part {
    const Depformer& model;
    const Memory& memory;
    const Speech& speech;

    Speaking(const SpeechStep& s, int t)
        : Part(s.crew, *s.work, t, s.speech->rows, s.model->dim, s.model->width), model(*s.model), memory(*s.memory),
          speech(*s.speech) {}

    int64_t stream_of(int row) const { return row < speech.batch ? row : speech.guided[row - speech.batch]; }

    // What is heard, for every set at once.
    void project() const {
        store_into(speech.projected, model.project.outputs, model.project,
                   packed(speech.heard, model.project.inputs, nullptr, model.project));
    }

    void add_text(int64_t id, float* x) const {
        const int64_t ids = model.text_card + 1;
        if (id < 0) return;
        add_row(model.text, model.tables_format, id % ids, dim, x);
        if (id >= ids) add_row(model.text, model.tables_format, ids + id / ids - 1, dim, x);
    }

    void enter(int k) const {
        const Range my = mine(rows);
        for (int row = my.from; row < my.to; row++) {
            float* x = work.hidden + (int64_t)row * width;
            const float* from = speech.projected + (int64_t)row * model.project.outputs + model.schedule[k] * width;
            __builtin_memcpy(x, from, (size_t)width * 4);
            const int64_t stream = stream_of(row);
            if (k == 0)
                add_text(speech.text[stream], x);
            else
                add_row(model.tables, model.tables_format,
                        (int64_t)(k - 1) * (model.card + 1) + speech.codes[stream * model.codebooks + k - 1], dim, x);
        }
    }

    // The block of values from place k on: a share of zero hides what an earlier step left there, but not NaN.
    static void forget(const Ring& ring, int k) {
        float* values = (float*)ring.values + (int64_t)k * ring.width;
        for (int i = 0; i < CHANNELS * ring.width; i++) values[i] = 0;
    }

    void attention(int layer, int k, int attended) const {
        const Range my = mine(rows * model.head_count);
        const int head_width = model.head_width, all = model.head_count * head_width;
        const float scale = 1.0f / __builtin_sqrtf((float)model.head_dim);
        for (int task = my.from; task < my.to; task++) {
            const int row = task / model.head_count, head = task % model.head_count;
            float* query = work.wide + (int64_t)row * work.widest + head * head_width;
            for (int i = 0; i < head_width; i += LANES) store(query + i, load<Floats>(query + i) * scale);
            const Ring ring = ring_of(memory, model, layer, row, head);
            if (k % CHANNELS == 0) forget(ring, k);
            keep(ring, k, query + all, query + 2 * all);
            attend(ring, query, k, k + 1, own, work.attended + (int64_t)row * attended + head * head_width);
        }
        wait();
    }

    void choose(int k) const {
        const Range my = mine(speech.batch);
        for (int stream = my.from; stream < my.to; stream++) {
            float* logits = work.wide + (int64_t)stream * work.widest;
            for (int row = speech.batch; row < rows; row++)
                if (stream_of(row) == stream) guide(logits, work.wide + (int64_t)row * work.widest, speech.strength[row - speech.batch]);
            speech.codes[(int64_t)stream * model.codebooks + k] =
                draw(logits, model.card, speech.temperature[stream], speech.last[stream], speech.top_p[stream],
                     speech.keys[stream * speech.key_stride + k], own);
        }
        wait();
    }

    void guide(float* logits, const float* away, float strength) const {
        for (int i = 0; i < model.card; i++) logits[i] = away[i] + (logits[i] - away[i]) * strength;
    }

    void run() const {
        project();
        for (int k = 0; k < model.codebooks; k++) {
            enter(k);
            for (int i = 0; i < model.layer_count; i++) {
                const Layer& layer = model.layers[model.schedule[k] * model.layer_count + i];
                store_into(work.wide, work.widest, layer.qkv, packed(work.hidden, width, layer.norm1, layer.qkv));
                attention(i, k, layer.out.inputs);
                add_to_hidden(layer.out, packed(work.attended, layer.out.inputs, nullptr, layer.out));
                gate(layer.inner, packed(work.hidden, width, layer.norm2, layer.inner));
                add_to_hidden(layer.outer, packed(work.wide, work.widest, nullptr, layer.outer));
            }
            store_into(work.wide, work.widest, model.heads[k], packed(work.hidden, width, nullptr, model.heads[k]));
            choose(k);
        }
    }
};
