// Attention of every row to what its own stream has heard, in a ring; queries and keys turned by their positions (RoPE).
//
// Heads of streams are shared by the threads. The bound is reading the rings, once for each stream.
#pragma once

// Row r belongs to stream r / each.
struct Streams {
    const int64_t *slots, *position, *oldest;  // position and oldest by slot
    int batch, each;

    int64_t slot_of(int row) const { return slots[row / each]; }
    int64_t place_of(int row) const { return position[slot_of(row)] + row % each; }
};

// Cosine and sine of a row's angles.
template <class M> static inline void turn(const Part& part, const M& model, const Streams& streams, int row) {
    const int half = model.head_width / 2;
    const double position = (double)streams.place_of(row);
    for (int i = 0; i < half; i++) {
        const double angle = position * model.frequencies[i];
        part.work.cosine[(int64_t)row * half + i] = (float)__builtin_cos(angle);
        part.work.sine[(int64_t)row * half + i] = (float)__builtin_sin(angle);
    }
}

// Every position of a call is in the ring before the first one attends: it has room for them.
template <class M>
static inline void attend_turned(const Part& part, const M& model, const Memory& memory, const Streams& streams, int layer) {
    const Workspace& work = part.work;
    const Range my = part.mine(streams.batch * model.head_count);
    const int each = streams.each, width = model.head_width, half = width / 2, all = model.head_count * width;
    const float scale = 1.0f / __builtin_sqrtf((float)model.head_dim);
    for (int task = my.from; task < my.to; task++) {
        const int stream = task / model.head_count, head = task % model.head_count;
        const int64_t slot = streams.slots[stream];
        const Ring ring = ring_of(memory, model, layer, slot, head);
        for (int row = stream * each; row < (stream + 1) * each; row++) {
            float* q = work.wide + (int64_t)row * work.widest + head * width;
            rotate(q, work.cosine + (int64_t)row * half, work.sine + (int64_t)row * half, half, scale);
            rotate(q + all, work.cosine + (int64_t)row * half, work.sine + (int64_t)row * half, half, 1);
            keep(ring, (int)(streams.place_of(row) % ring.capacity), q + all, q + 2 * all);
        }
        if (task + 1 < my.to) {
            const int after = (task + 1) / model.head_count;
            const Ring next = ring_of(memory, model, layer, streams.slots[after], (task + 1) % model.head_count);
            expect(next, (int)(streams.place_of(after * each) % next.capacity));
        }
        for (int row = stream * each; row < (stream + 1) * each; row++) {
            const int64_t position = streams.place_of(row), age = position + 1 - streams.oldest[slot];
            attend(ring, work.wide + (int64_t)row * work.widest + head * width, position,
                   (int)(age < model.context ? age : model.context), part.own,
                   work.attended + (int64_t)row * model.layers[layer].out.inputs + head * width);
        }
    }
    part.wait();
    lap(part.thread, ATTENTION);
}
