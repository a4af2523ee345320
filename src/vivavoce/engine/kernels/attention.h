// One head of one stream: out = softmax(q K^T) V over the positions that the query sees (q is scaled already).
//
// Keys are a matrix whose outputs are places of the ring, values one whose outputs are the head's numbers (model.h), so
// both halves are the tile of product.h: no sum runs across a vector, and each line of the ring is read once. The bound
// is reading the ring. INT8: q and the probabilities keep 14 bits, as two rows of bytes (high, low), so that only keys
// and values themselves are rounded to 8.
#pragma once

// The ring of one head.
struct Ring {
    uint8_t *keys, *values;
    float *key_scales, *value_scales;
    int32_t format, capacity, padded, width;
};

// Sizes: what has a head_count and a head_width.
template <class Sizes>
static inline Ring ring_of(const Memory& memory, const Sizes& model, int layer, int64_t slot, int head) {
    const int64_t index = ((int64_t)layer * memory.slots + slot) * model.head_count + head;
    const int64_t at = row_bytes(memory.format, memory.padded) * model.head_width * index, scale = index * memory.padded;
    const bool bytes = memory.format == INT8;
    return {memory.keys + at, memory.values + at, bytes ? memory.key_scales + scale : nullptr,
            bytes ? memory.value_scales + scale : nullptr, memory.format, memory.capacity, memory.padded, model.head_width};
}

static inline uint8_t to_unsigned(float x) {  // 128 + x, rounded as `rounded` does
    const float shifted = x + (SHIFT + 128.0f);
    int32_t u;
    __builtin_memcpy(&u, &shifted, 4);
    return (uint8_t)u;
}

// Numbers of a position at its place, P a step.
template <int P, class T, class Key, class Value>
static inline void put(T* keys, T* values, int place, int width, Key key, Value value) {
    T* to_key = keys + (int64_t)(place / CHANNELS) * CHANNELS * width + place % CHANNELS * P;
    T* to_value = values + (int64_t)(place / P) * P * width + place % P;
    for (int d = 0; d < width; d += P)
        for (int j = 0; j < P; j++) {
            to_key[d * CHANNELS + j] = key(d + j);
            to_value[(d + j) * P] = value(d + j);
        }
}

// Asks for the lines that `keep` will write to.
static inline void expect(const Ring& ring, int place) {
    const int p = inputs_of_a_step(ring.format);
    const int64_t size = row_bytes(ring.format, 1), width = ring.width * size;
    const uint8_t *key = ring.keys + place / CHANNELS * CHANNELS * width, *value = ring.values + place / p * p * width;
    for (int64_t at = 0; at < CHANNELS * width; at += LINE) __builtin_prefetch(key + at, 1, 2);
    for (int64_t at = 0; at < p * width; at += LINE) __builtin_prefetch(value + at, 1, 2);
}

// Keys and values [width] of a position, at its place.
static inline void keep(const Ring& ring, int place, const float* key, const float* value) {
    const int width = ring.width;
    float inverse_key = 0, inverse_value = 0;
    if (ring.format == INT8) {
        const float k = magnitude(key, width), v = magnitude(value, width);
        ring.key_scales[place] = k / 127.0f;
        ring.value_scales[place] = v / 127.0f;
        inverse_key = k > 0 ? 127.0f / k : 0;
        inverse_value = v > 0 ? 127.0f / v : 0;
    }
    if (ring.format == FLOAT32) {
        put<1>((float*)ring.keys, (float*)ring.values, place, width, [&](int d) { return key[d]; },
               [&](int d) { return value[d]; });
    } else if (ring.format == BFLOAT16) {
        put<2>((uint16_t*)ring.keys, (uint16_t*)ring.values, place, width, [&](int d) { return to_bfloat16(key[d]); },
               [&](int d) { return to_bfloat16(value[d]); });
    } else {
        put<4>(ring.keys, ring.values, place, width, [&](int d) { return to_unsigned(key[d] * inverse_key); },
               [&](int d) { return to_unsigned(value[d] * inverse_value); });
    }
}

constexpr float FINE = 16000.0f;  // the largest number of 14 bits and a sign that two bytes hold here

// Packs x as one row, or as the two rows of its high and low bytes; the unit of these is written to `unit`.
static inline Inputs packed_row(int format, const float* x, int count, uint8_t* out, float* sums, float* unit) {
    const Inputs row = {out, row_bytes(format, count), nullptr, sums};
    if (format != INT8) {
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

// One row times blocks of a ring's half; of INT8, in units of x's unit and the ring's scales.
template <int NB>
static inline void ring_tile(int format, const Lines& w, int block, const Inputs& x, float* out) {
    if (format == FLOAT32) return plain_tile<Float32, 1, NB>(w, block, x, 0, {}, out);
    if (format == BFLOAT16) return plain_tile<Bfloat16, 1, NB>(w, block, x, 0, {}, out);
    alignas(64) float both[2 * NB * CHANNELS];
    plain_tile<Int8, 2, NB>(w, block, x, 0, {}, both);
    const Ints high = all(128 * (int32_t)x.sums[0]), low = all(128 * (int32_t)x.sums[1]);
    for (int i = 0; i < NB * CHANNELS; i += LANES) {
        Floats h = converted(load<Ints>(both + i) - high), l = converted(load<Ints>(both + NB * CHANNELS + i) - low);
        store(out + i, h * 128.0f + l);
    }
}

// Tiles of TO blocks: of keys one, of values all of a step, so that lines are read in the order of the memory. A processor
// sees that coming and is faster at it than when asked for lines ahead.
template <int TO> static inline void ring_product(int format, const Lines& w, int from, int to, const Inputs& x, float* out) {
    for (; to - from >= TO; from += TO, out += TO * CHANNELS) ring_tile<TO>(format, w, from, x, out);
    if constexpr (TO > BLOCKS)
        for (; to - from >= BLOCKS; from += BLOCKS, out += BLOCKS * CHANNELS) ring_tile<BLOCKS>(format, w, from, x, out);
    for (; from < to; from++, out += CHANNELS) ring_tile<1>(format, w, from, x, out);
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

// The query at `position`, which sees `seen` positions up to its own. own: 2 * padded + 2 * width floats of scratch.
static inline void attend(const Ring& ring, const float* query, int64_t position, int seen, float* own, float* out) {
    const int format = ring.format, p = inputs_of_a_step(format), width = ring.width;
    const int first = (int)((position + 1 - seen) % ring.capacity);
    const bool round = first + seen > ring.capacity;
    const int from = round ? 0 : first / CHANNELS;
    const int to = round ? ring.padded / CHANNELS : (first + seen + CHANNELS - 1) / CHANNELS;
    const int places = (to - from) * CHANNELS;
    float *scores = own, sums[2], unit = 1;
    uint8_t* packed = (uint8_t*)(own + ring.padded);

    const int64_t line = (int64_t)CHANNELS * p * row_bytes(format, 1), size = row_bytes(format, 1);
    const Inputs q = packed_row(format, query, width, packed, sums, &unit);
    ring_product<1>(format, {ring.keys, width / p * line, line, width / p}, from, to, q, scores);
    if (format == INT8)
        for (int i = 0; i < places; i += LANES)
            store(scores + i, load<Floats>(scores + i) * load<Floats>(ring.key_scales + from * CHANNELS + i) * unit);
    const uint8_t* values = ring.values + (int64_t)from * CHANNELS * width * size;
    const float total = soften(scores, from * CHANNELS, to * CHANNELS, first, seen, ring.capacity);

    if (format == INT8)
        for (int i = 0; i < places; i += LANES)
            store(scores + i, load<Floats>(scores + i) * load<Floats>(ring.value_scales + from * CHANNELS + i));
    const Inputs shares = packed_row(format, scores, places, packed, sums, &unit);
    ring_product<RING>(format, {values, line, width / CHANNELS * line, places / p}, 0, width / CHANNELS, shares, out);
    const float scale = (format == INT8 ? unit : 1) / total;
    for (int i = 0; i < width; i += LANES) store(out + i, load<Floats>(out + i) * scale);
}
