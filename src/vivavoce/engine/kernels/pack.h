// Weights to the lines of model.h, when an engine is made: a thread packs blocks of 16 outputs.
//
//   INT8: u = round(w / s) + 128 with s = the largest |w| of the output / 127
//   INT4: v = round(w / s) within -8 to 7, of s = top / -reach, the one with the least square error, where top is the
//         number of a group that is the largest in size, with its sign: the range is -8 to 7, and the largest may be clipped
//
// The bound is reading the weights; divisions are exact, so every instruction set gives the same bytes of INT8.
#pragma once

constexpr float REACHES[] = {8.0f, 7.5f, 7.0f, 8.5f, 9.0f};

struct PackingPart {
    const Packing& p;
    const int steps;
    float* const numbers;  // [CHANNELS][inputs]
    int32_t* const whole;  // likewise, rounded

    PackingPart(const Packing& what, float* scratch)
        : p(what), steps(what.inputs / inputs_of_a_step(what.format)), numbers(scratch),
          whole((int32_t*)(scratch + (int64_t)CHANNELS * what.inputs)) {}

    void read(int block) const {
        for (int c = 0; c < CHANNELS; c++) {
            const int64_t row = (int64_t)block * CHANNELS + c;
            float* to = numbers + (int64_t)c * p.inputs;
            const int count = row < p.rows ? p.columns : 0;
            if (p.from_format == FLOAT32) {
                __builtin_memcpy(to, (const float*)p.from + row * p.columns, (size_t)count * 4);
            } else {
                const uint16_t* from = (const uint16_t*)p.from + row * p.columns;
                for (int i = 0; i < count; i++) to[i] = from_bfloat16(from[i]);
            }
            for (int i = count; i < p.inputs; i++) to[i] = 0;
        }
    }

    // Numbers of a line, `count` for each output, of which `value(number)` is kept.
    template <class T, class N, class Value> void lines(int block, const N* from, int count, Value value) const {
        T* to = (T*)p.data + (int64_t)block * steps * CHANNELS * count;
        for (int c = 0; c < CHANNELS; c++)
            for (int k = 0; k < steps; k++)
                for (int j = 0; j < count; j++)
                    to[((int64_t)k * CHANNELS + c) * count + j] = value(from[(int64_t)c * p.inputs + (int64_t)k * count + j]);
    }

    void bytes(int block) const {
        for (int c = 0; c < CHANNELS; c++) {
            const float* x = numbers + (int64_t)c * p.inputs;
            float most = 0;
            for (int i = 0; i < p.inputs; i++) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
            const float scale = p.scales[block * CHANNELS + c] = most / 127;
            round_all(x, p.inputs, scale, whole + (int64_t)c * p.inputs);
        }
        lines<uint8_t>(block, whole, 4, [](int32_t v) { return (uint8_t)(v + 128); });
    }

    static void round_all(const float* x, int count, float scale, int32_t* to) {
        int i = 0;
        for (; i + LANES <= count; i += LANES) store(to + i, scale == 0 ? Ints{} : rounded(load<Floats>(x + i) / scale));
        for (; i < count; i++) to[i] = scale == 0 ? 0 : (int32_t)__builtin_rintf(x[i] / scale);
    }

    void halves(int block) const {
        const int groups = p.inputs / GROUP;
        float* const scales = p.scales + (int64_t)block * (groups + 1) * CHANNELS;
        for (int c = 0; c < CHANNELS; c++) {
            float total = 0;
            for (int g = 0; g < groups; g++) {
                const int64_t at = (int64_t)c * p.inputs + g * GROUP;
                const float scale = best_scale(numbers + at);
                scales[g * CHANNELS + c] = scale / 16;
                Ints units{};
                for (int i = 0; i < GROUP; i += LANES) {
                    const Ints v = nearest(load<Floats>(numbers + at + i), scale);
                    store(whole + at + i, v);
                    units += v;
                }
                total += (float)sum(units) * scale;
            }
            scales[groups * CHANNELS + c] = -128 * total;
        }
        uint8_t* to = p.data + (int64_t)block * steps * LINE;
        for (int c = 0; c < CHANNELS; c++)
            for (int k = 0; k < steps; k++) {
                const int32_t* from = whole + (int64_t)c * p.inputs + k * 8;
                for (int j = 0; j < 4; j++) to[(int64_t)k * LINE + c * 4 + j] = (uint8_t)((from[j] & 15) | from[4 + j] * 16);
            }
    }

    static Ints nearest(Floats x, float scale) {
        if (scale == 0) return Ints{};
        const Ints v = rounded(smaller(larger(x / scale, all(-8.0f)), all(7.0f)));
        return v;
    }

    static float best_scale(const float* x) {
        float top = x[0];
        for (int i = 1; i < GROUP; i++) top = __builtin_fabsf(x[i]) > __builtin_fabsf(top) ? x[i] : top;
        float best = top / -8, least = __builtin_inff();
        for (const float reach : REACHES) {
            const float scale = top / -reach;
            Floats squares{};
            for (int i = 0; i < GROUP; i += LANES) {
                const Floats v = load<Floats>(x + i), off = converted(nearest(v, scale)) * scale - v;
                squares += off * off;
            }
            const float error = sum(squares);
            if (error < least) least = error, best = scale;
        }
        return best;
    }

    void run(int block) const {
        read(block);
        if (p.format == FLOAT32)
            lines<float>(block, numbers, 1, [](float v) { return v; });
        else if (p.format == BFLOAT16)
            lines<uint16_t>(block, numbers, 2, [](float v) { return to_bfloat16(v); });
        else if (p.format == INT8)
            bytes(block);
        else
            halves(block);
    }
};

static void pack_matrix(const PackingTask& task, int thread) {
    const Packing& p = *task.what;
    const Range my = share(p.outputs / CHANNELS, thread, task.threads);
    const PackingPart part(p, p.scratch + (int64_t)thread * 2 * CHANNELS * p.inputs);
    for (int block = my.from; block < my.to; block++) part.run(block);
}
