// What both halves of the codec do with all rows together: the rows of a convolution, products, the transformer.
//
//   for each layer: x += out(attend(rotate(qkv(norm1 x)))) * scale1, x += outer(gelu(inner(norm2 x))) * scale2
//
// Two positions a frame; threads share rows, blocks and heads as part.h has it.
#pragma once

struct CodecStepping : Part {
    const CodecTransformer& model;
    const Memory& ring;
    const CodecCall& call;
    const CodecWorkspace& scratch;
    const Part framewise;  // with a row for each frame
    const Team team;
    const Streams streams;

    CodecStepping(const CodecStep& s, const CodecTransformer& sizes, int t)
        : Part(s.crew, s.work->rows, t, 2 * s.call->batch * s.call->count, sizes.dim, sizes.width), model(sizes), ring(*s.ring),
          call(*s.call), scratch(*s.work), framewise(s.crew, s.work->rows, t, rows / 2, sizes.dim, sizes.width),
          team{t, threads, s.crew}, streams{call.slots, call.position, call.oldest, call.batch, 2 * call.count} {}

    float* tails_of(int stream) const { return call.tails + call.slots[stream] * call.tail_size; }
    float* joined_of(int stream) const { return scratch.joined + stream * scratch.joined_stride; }

    // Packs one row of `count` numbers as inputs of `w`, zeros behind them.
    void put_row(const Matrix& w, const float* x, int count, int64_t row) const {
        if (count < w.inputs) {
            __builtin_memcpy(own, x, (size_t)count * 4);
            for (int i = count; i < w.inputs; i++) own[i] = 0;
            x = own;
        }
        pack(x, w.format, w.inputs, work.packed + row * row_bytes(w.format, w.inputs), work.scales + row, work.sums + row);
    }
    Inputs rows_of(const Matrix& w) const {
        return {work.packed, row_bytes(w.format, w.inputs), work.scales, work.sums};
    }

    // `dim` numbers of each frame.
    Inputs put_frames(const float* from, int stride, const Matrix& w) const {
        const Range my = mine(framewise.rows);
        for (int row = my.from; row < my.to; row++) put_row(w, from + (int64_t)row * stride, dim, row);
        wait();
        return rows_of(w);
    }

    // Packs the windows of every stream's joined buffer, and keeps its tail.
    Inputs windows(const Conv& c) const {
        const int each = call.count * c.rows;
        const Range my = mine(call.batch * each), streams = mine(call.batch);
        for (int row = my.from; row < my.to; row++)
            put_row(c.w, joined_of(row / each) + (int64_t)(row % each) * c.step, c.kept + c.step, row);
        for (int i = streams.from; i < streams.to; i++) keep_tail(c, joined_of(i), each, tails_of(i));
        wait();
        return rows_of(c.w);
    }

    void begin_joined(const Conv& c) const {
        const Range streams = mine(call.batch);
        for (int i = streams.from; i < streams.to; i++) begin_with_tail(c, tails_of(i), joined_of(i));
    }

    // Results of a convolution over packed windows: put(stream, at, v, count) as of `convolve`.
    template <class Put> void convolve_rows(const Conv& c, const Inputs& x, Put put) const {
        const int each = call.count * c.rows;
        const Range my = mine(c.w.outputs / CHANNELS);
        product(c.w, x, call.batch * each, my.from, my.to, [&](int row, int block, int blocks, const float* values) {
            const int64_t at = (int64_t)(row % each) * c.width;
            const int from = block * CHANNELS, to = from + blocks * CHANNELS < c.width ? from + blocks * CHANNELS : c.width;
            for (int i = from; i < to; i += LANES)
                put(row / each, at + i, load<Floats>(values + (i - from)) + load<Floats>(c.bias + i), to - i);
        });
        wait();
        lap(thread, NARROW);
    }

    void activate(const Matrix& w, const Inputs& x) const {
        multiply(w, x, 1, [this](int row, int block, int blocks, const float* values) {
            float* to = work.wide + (int64_t)row * work.widest + block * CHANNELS;
            for (int i = 0; i < blocks * CHANNELS; i += LANES) store(to + i, gelu(load<Floats>(values + i)));
        });
    }

    void transform() const {
        const Range my = mine(rows);
        for (int row = my.from; row < my.to; row++) turn(*this, model, streams, row);
        for (int i = 0; i < model.layer_count; i++) {
            const CodecLayer& layer = model.layers[i];
            store_into(work.wide, work.widest, layer.qkv, packed(work.hidden, width, layer.norm1, layer.qkv, layer.bias1));
            attend_turned(*this, model, ring, streams, i);
            add_to_hidden(layer.out, packed(work.attended, layer.out.inputs, nullptr, layer.out));
            activate(layer.inner, packed(work.hidden, width, layer.norm2, layer.inner, layer.bias2));
            add_to_hidden(layer.outer, packed(work.wide, work.widest, nullptr, layer.outer));
        }
    }
};
