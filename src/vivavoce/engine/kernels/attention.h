// One head of one stream: out = softmax(q K^T) V over the positions that the query sees (q is scaled already).
//
// Keys are a matrix whose outputs are places of the ring, values one whose outputs are the head's numbers (model.h), so
// both are the tile of product.h: no sum runs across a vector, and each line of the ring is read once. The bound
// is reading the ring. INT8: q and the probabilities keep 14 bits, as two rows of bytes (high, low), so that only keys
// and values themselves are rounded to 8. INT4: values to 4, between the least and the largest of a position's; keys, of
// which a rounded one turns the attention elsewhere, to 8.
#pragma once

// The ring of one head.
struct Ring {
    uint8_t *keys, *values;
    float *key_scales, *value_scales, *least;
    int32_t format, capacity, padded, width;
};

static inline int format_of_keys(int format) { return format == INT4 ? INT8 : format; }
static inline int64_t bytes_of_values(int format, int64_t count) {
    return format == INT4 ? count / 2 : count * row_bytes(format, 1);
}

// Sizes: what has a head_count and a head_width.
template <class Sizes>
static inline Ring ring_of(const Memory& memory, const Sizes& model, int layer, int64_t slot, int head) {
    const int64_t index = ((int64_t)layer * memory.slots + slot) * model.head_count + head;
    const int64_t scale = index * memory.padded, at = scale * model.head_width;
    const auto of = [=](float* scales) { return scales ? scales + scale : nullptr; };
    return {memory.keys + row_bytes(memory.format, 1) * at, memory.values + bytes_of_values(memory.format, at),
            of(memory.key_scales), of(memory.value_scales), of(memory.least),
            memory.format, memory.capacity, memory.padded, model.head_width};
}

static inline uint8_t to_unsigned(float x) {  // 128 + x, rounded as `rounded` does
    const float shifted = x + (SHIFT + 128.0f);
    int32_t u;
    __builtin_memcpy(&u, &shifted, 4);
    return (uint8_t)u;
}

// Numbers of a position at its place, P a step: of a key, and of a value.
template <int P, class T, class Key> static inline void put_key(T* keys, int place, int width, Key key) {
    T* to = keys + (int64_t)(place / CHANNELS) * CHANNELS * width + place % CHANNELS * P;
    for (int d = 0; d < width; d += P)
        for (int j = 0; j < P; j++) to[d * CHANNELS + j] = key(d + j);
}
template <int P, class T, class Value> static inline void put_value(T* values, int place, int width, Value value) {
    T* to = values + (int64_t)(place / P) * P * width + place % P;
    for (int d = 0; d < width; d++) to[d * P] = value(d);
}

// A value of INT4: of every number half of one byte of four.
static inline void put_halves(const Ring& ring, int place, const float* value) {
    Floats less = all(-__builtin_inff()), more = less;
    for (int d = 0; d < ring.width; d += LANES) {
        const Floats v = load<Floats>(value + d);
        less = larger(less, -v);
        more = larger(more, v);
    }
    const float least = -largest(less), range = largest(more) - least, inverse = range > 0 ? 15.0f / range : 0;
    ring.least[place] = least;
    ring.value_scales[place] = range / 15.0f;
    uint8_t* to = ring.values + bytes_of_values(INT4, (int64_t)(place / 8) * 8 * ring.width);
    const int shift = place % 4 * 8 + place % 8 / 4 * 4;
    const int32_t others = ~(int32_t)(15u << shift);
    for (int d = 0; d < ring.width; d += LANES) {
        const Ints u = rounded((load<Floats>(value + d) - least) * inverse) & 15;
        store(to + d * 4, (load<Ints>(to + d * 4) & others) | (u << shift));
    }
}

// Asks for the lines that `keep` will write to.
static inline void expect(const Ring& ring, int place) {
    const int p = inputs_of_a_step(ring.format);
    const int64_t block = CHANNELS * ring.width * row_bytes(ring.format, 1);
    const int64_t step = bytes_of_values(ring.format, p * ring.width);
    const uint8_t *key = ring.keys + place / CHANNELS * block, *value = ring.values + place / p * step;
    for (int64_t at = 0; at < block; at += LINE) __builtin_prefetch(key + at, 1, 2);
    for (int64_t at = 0; at < step; at += LINE) __builtin_prefetch(value + at, 1, 2);
}

// The scale of x's bytes; what x is multiplied by for them is written to `inverse`.
static inline float scale_of_bytes(const float* x, int count, float* inverse) {
    const float most = magnitude(x, count);
    *inverse = most > 0 ? 127.0f / most : 0;
    return most / 127.0f;
}

// Keys and values [width] of a position, at its place.
static inline void keep(const Ring& ring, int place, const float* key, const float* value) {
    const int width = ring.width;
    if (ring.format == FLOAT32) {
        put_key<1>((float*)ring.keys, place, width, [&](int d) { return key[d]; });
        return put_value<1>((float*)ring.values, place, width, [&](int d) { return value[d]; });
    }
    if (ring.format == BFLOAT16) {
        put_key<2>((uint16_t*)ring.keys, place, width, [&](int d) { return to_bfloat16(key[d]); });
        return put_value<2>((uint16_t*)ring.values, place, width, [&](int d) { return to_bfloat16(value[d]); });
    }
    float inverse;
    ring.key_scales[place] = scale_of_bytes(key, width, &inverse);
    put_key<4>(ring.keys, place, width, [&](int d) { return to_unsigned(key[d] * inverse); });
    if (ring.format == INT4) return put_halves(ring, place, value);
    ring.value_scales[place] = scale_of_bytes(value, width, &inverse);
    put_value<4>(ring.values, place, width, [&](int d) { return to_unsigned(value[d] * inverse); });
}

constexpr float FINE = 16000.0f;  // the largest number of 14 bits and a sign that two bytes hold here

// Packs x as one row, or as the two rows of its high and low bytes; the unit of these is written to `unit`.
static inline Inputs packed_row(int format, const float* x, int count, uint8_t* out, float* sums, float* unit) {
    const Inputs row = {out, row_bytes(format, count), nullptr, sums};
    if (format < INT8) {
        pack(x, format, count, out, nullptr, nullptr);
        return row;
    }
    const float most = magnitude(x, count);
    const float inverse = most > 0 ? FINE / most : 0;
    int8_t *high = (int8_t*)out, *low = high + count;
    Ints total_high{}, total_low{};
    for (int i = 0; i < count; i += LANES) {
        Ints v = rounded(load<Floats>(x + i) * inverse), h = (v + 64) >> 7, l = v - (h << 7);
        narrow(h, high + i);
        narrow(l, low + i);
        total_high += h;
        total_low += l;
    }
    sums[0] = (float)sum(total_high);
    sums[1] = (float)sum(total_low);
    *unit = most / FINE;
    return row;
}

constexpr int32_t LOWER = 0x0F0F0F0F;

// Two rows of bytes times blocks of unsigned halves, 8 a step; left as integers.
template <int NB> static inline void halves_tile(const Lines& w, int block, const Inputs& x, Ahead ahead, float* out) {
    Ints sums[2][NB][PARTS] = {};
    const uint8_t* line = w.data + block * w.block;
    for (int k = 0; k < w.steps;) {
        Ints few[2][NB][PARTS] = {};
        for (const int end = w.steps - k < TOGETHER ? w.steps : k + TOGETHER; k < end; k++, line += w.step) {
            ahead.ask();
            int32_t input[2][2];
            for (int m = 0; m < 2; m++) __builtin_memcpy(input[m], x.data + m * x.stride + k * 8, 8);
#pragma GCC unroll 8
            for (int b = 0; b < NB; b++)
#pragma GCC unroll 4
                for (int p = 0; p < PARTS; p++) {
                    const Ints both = load<Ints>(line + b * w.block + p * LANES * 4);
                    const Ints low = both & LOWER, high = (both >> 4) & LOWER;
#pragma GCC unroll 2
                    for (int m = 0; m < 2; m++)
                        few[m][b][p] = add_halves(few[m][b][p], low, high, all(input[m][0]), all(input[m][1]));
                }
        }
        for (int m = 0; m < 2; m++)
            for (int b = 0; b < NB; b++)
                for (int p = 0; p < PARTS; p++) sums[m][b][p] += widened(few[m][b][p]);
    }
    for (int m = 0; m < 2; m++)
        for (int b = 0; b < NB; b++)
            for (int p = 0; p < PARTS; p++) store(out + (m * NB + b) * CHANNELS + p * LANES, sums[m][b][p]);
}

constexpr int FAR = 4096;  // bytes ahead, of a ring's lines that are asked for

// One row times blocks of keys or of values; of INT8 and INT4, in units of x's unit and the ring's scales.
template <int NB, bool ASK>
static inline void ring_tile(int format, const Lines& w, int block, const Inputs& x, float* out) {
    const Ahead ahead = ASK ? Ahead{w.data + block * w.block + FAR, NB * LINE, NB, false} : Ahead{};
    if (format == FLOAT32) return plain_tile<Float32, 1, NB>(w, block, x, 0, ahead, out);
    if (format == BFLOAT16) return plain_tile<Bfloat16, 1, NB>(w, block, x, 0, ahead, out);
    alignas(64) float both[2 * NB * CHANNELS];
    format == INT4 ? halves_tile<NB>(w, block, x, ahead, both) : plain_tile<Int8, 2, NB>(w, block, x, 0, ahead, both);
    const int32_t offset = format == INT4 ? 0 : 128;
    const Ints high = all(offset * (int32_t)x.sums[0]), low = all(offset * (int32_t)x.sums[1]);
    for (int i = 0; i < NB * CHANNELS; i += LANES) {
        Floats h = converted(load<Ints>(both + i) - high), l = converted(load<Ints>(both + NB * CHANNELS + i) - low);
        store(out + i, h * 128.0f + l);
    }
}

// Tiles of TO blocks: of keys one, of values all of a step, so that lines are read in the order of the memory.
template <int TO, bool ASK>
static inline void ring_tiles(int format, const Lines& w, int from, int to, const Inputs& x, float* out) {
    for (; to - from >= TO; from += TO, out += TO * CHANNELS) ring_tile<TO, ASK>(format, w, from, x, out);
    if constexpr (TO > BLOCKS)
        for (; to - from >= BLOCKS; from += BLOCKS, out += BLOCKS * CHANNELS) ring_tile<BLOCKS, ASK>(format, w, from, x, out);
    for (; from < to; from++, out += CHANNELS) ring_tile<1, ASK>(format, w, from, x, out);
}
template <int TO> static inline void ring_product(int format, const Lines& w, int from, int to, const Inputs& x, float* out) {
    if (needs_asking()) return ring_tiles<TO, true>(format, w, from, to, x, out);
    ring_tiles<TO, false>(format, w, from, to, x, out);
}

// Scores [16 of every block] to e^(score - most) where the place is seen and 0 elsewhere; returns their sum.
static inline float soften(float* scores, int from, int to, int first, int seen, int capacity) {
    Floats most = all(-__builtin_inff());
    Ints count;
    for (int j = 0; j < LANES; j++) count[j] = j;
    for (int i = 0; i < to - from; i += LANES) {
        const Ints place = count + (from + i), back = place - first, after = choose(back < 0, back + capacity, back);
        const Ints visible = (place < capacity) & (after < seen);
        const Floats score = choose(visible, load<Floats>(scores + i), all(-__builtin_inff()));
        store(scores + i, score);
        most = larger(most, score);
    }
    const float top = largest(most);
    Floats total{};
    for (int i = 0; i < to - from; i += LANES) {
        const Floats score = load<Floats>(scores + i), share = exponential(score - top);
        const Floats kept = choose(score == all(-__builtin_inff()), Floats{}, share);
        store(scores + i, kept);
        total += kept;
    }
    return sum(total);
}

// Shares [count] times the scales of their values, in place; returns what these values' least ones come to.
static inline float scale_shares(float* shares, int count, const float* scales, const float* least) {
    Floats total{};
    for (int i = 0; i < count; i += LANES) {
        const Floats share = load<Floats>(shares + i);
        if (least) total += share * load<Floats>(least + i);
        store(shares + i, share * load<Floats>(scales + i));
    }
    return sum(total);
}

// The query at `position`, which sees `seen` positions up to its own. own: 2 * padded + 2 * width floats of scratch.
static inline void attend(const Ring& ring, const float* query, int64_t position, int seen, float* own, float* out) {
    const int format = ring.format, keys = format_of_keys(format), width = ring.width;
    const int first = (int)((position + 1 - seen) % ring.capacity);
    const bool round = first + seen > ring.capacity;
    const int from = round ? 0 : first / CHANNELS, begin = from * CHANNELS;
    const int to = round ? ring.padded / CHANNELS : (first + seen + CHANNELS - 1) / CHANNELS;
    const int places = (to - from) * CHANNELS;
    float *scores = own, sums[2], unit = 1;
    uint8_t* packed = (uint8_t*)(own + ring.padded);

    const int numbers = inputs_of_a_step(keys), steps = width / numbers;
    const Inputs q = packed_row(keys, query, width, packed, sums, &unit);
    ring_product<1>(keys, {ring.keys, (int64_t)steps * LINE, LINE, steps}, from, to, q, scores);
    if (ring.key_scales)
        for (int i = 0; i < places; i += LANES)
            store(scores + i, load<Floats>(scores + i) * load<Floats>(ring.key_scales + begin + i) * unit);
    const float total = soften(scores, begin, to * CHANNELS, first, seen, ring.capacity);

    float rest = 0;
    if (ring.value_scales)
        rest = scale_shares(scores, places, ring.value_scales + begin, ring.least ? ring.least + begin : nullptr);
    const uint8_t* values = ring.values + bytes_of_values(format, (int64_t)begin * width);
    const int blocks = width / CHANNELS;
    const Lines lines = {values, LINE, (int64_t)blocks * LINE, places / inputs_of_a_step(format)};
    ring_product<RING>(format, lines, 0, blocks, packed_row(format, scores, places, packed, sums, &unit), out);
    for (int i = 0; i < width; i += LANES) store(out + i, (load<Floats>(out + i) * unit + rest) * (1 / total));
}
