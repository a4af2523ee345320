// Attention of a stream to its conditions (spec/model.md §2.6):  x += out(softmax(q K^T) V), q = query(layer_norm(x))
//
// Keys and values are projected once, when a stream opens, and lie as a ring that is full (model.h): no positions, no
// mask. The bound is reading them, once for each stream, and the two matrices.
#pragma once

// Row r belongs to stream r / count, whose slot is slots[r / count].
static inline void cross(const Part& part, const Model& model, const Memory& source, int index, const int64_t* slots, int count) {
    const Layer& layer = model.layers[index];
    const Workspace& work = part.work;
    const int width = model.head_width;
    const float scale = 1.0f / __builtin_sqrtf((float)model.head_dim);
    part.store_into(work.wide, work.widest, layer.cross_query,
                    part.packed(work.hidden, part.width, layer.norm_cross, layer.cross_query, layer.bias_cross));
    const Range my = part.mine(part.rows * model.head_count);
    for (int task = my.from; task < my.to; task++) {
        const int row = task / model.head_count, head = task % model.head_count;
        float* query = work.wide + (int64_t)row * work.widest + head * width;
        for (int i = 0; i < width; i += LANES) store(query + i, load<Floats>(query + i) * scale);
        attend(ring_of(source, model, index, slots[row / count], head), query, source.capacity - 1, source.capacity,
               part.own, work.attended + (int64_t)row * layer.cross_out.inputs + head * width);
    }
    part.wait();
    part.add_to_hidden(layer.cross_out, part.packed(work.attended, layer.cross_out.inputs, nullptr, layer.cross_out));
}
