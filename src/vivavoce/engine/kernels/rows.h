// What is done to one row between two products: norm, rotation, and packing in the format of the next weights.
#pragma once

// out = x * rsqrt(mean(x^2) + 1e-8) * weight over `dim` numbers; what lies between dim and width is and stays zero
static inline void normalise(const float* x, const float* weight, int dim, int width, float* out) {
    Floats squares{};
    for (int i = 0; i < width; i += LANES) {
        Floats v = load<Floats>(x + i);
        squares += v * v;
    }
    const float scale = 1.0f / __builtin_sqrtf(sum(squares) / (float)dim + 1e-8f);
    for (int i = 0; i < width; i += LANES) store(out + i, load<Floats>(x + i) * scale * load<Floats>(weight + i));
}

// out = (x - mean(x)) * rsqrt(variance(x) + 1e-5) * weight + bias, likewise
static inline void centre(const float* x, const float* weight, const float* bias, int dim, int width, float* out) {
    Floats total{}, squares{};
    for (int i = 0; i < width; i += LANES) total += load<Floats>(x + i);
    const float mean = sum(total) / (float)dim;
    const int whole = dim / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) {
        const Floats v = load<Floats>(x + i) - mean;
        squares += v * v;
    }
    float variance = sum(squares);
    for (int i = whole; i < dim; i++) variance += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / __builtin_sqrtf(variance / (float)dim + 1e-5f);
    for (int i = 0; i < width; i += LANES)
        store(out + i, (load<Floats>(x + i) - mean) * scale * load<Floats>(weight + i) + load<Floats>(bias + i));
}

// Pairs (i, half + i) turned by the angle whose cosine and sine are given, [half].
static inline void rotate(float* x, const float* cosine, const float* sine, int half, float scale) {
    for (int i = 0; i < half; i++) {
        const float a = x[i], b = x[half + i];
        x[i] = (a * cosine[i] - b * sine[i]) * scale;
        x[half + i] = (a * sine[i] + b * cosine[i]) * scale;
    }
}

static inline float magnitude(const float* x, int count) {
    Floats most{};
    for (int i = 0; i < count; i += LANES) {
        Floats v = load<Floats>(x + i);
        most = larger(most, larger(v, -v));
    }
    return largest(most);
}

// Bytes of x / scale + offset, and the sum without the offsets.
static inline float to_bytes(const float* x, int count, float inverse, int32_t offset, int8_t* out) {
    Ints total{};
    for (int i = 0; i < count; i += LANES) {
        Ints v = rounded(load<Floats>(x + i) * inverse);
        narrow(v + offset, out + i);
        total += v;
    }
    return (float)sum(total);
}

static inline int64_t row_bytes(int format, int count) { return format == INT4 ? count : (int64_t)count * 4 >> format; }

// x [inputs] as inputs of a matrix in `format`; inputs is a multiple of GROUP.
static inline void pack(const float* x, int format, int inputs, uint8_t* out, float* scales, float* sums) {
    if (format == FLOAT32) {
        __builtin_memcpy(out, x, (size_t)inputs * 4);
    } else if (format == BFLOAT16) {
        for (int i = 0; i < inputs; i += LANES) narrow_bfloat16(load<Floats>(x + i), (uint16_t*)out + i);
    } else {
        const float most = magnitude(x, inputs);
        *scales = most / 127.0f;
        *sums = to_bytes(x, inputs, most > 0 ? 127.0f / most : 0, format == INT4 ? 128 : 0, (int8_t*)out);
    }
}
