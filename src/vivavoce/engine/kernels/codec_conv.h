// Convolutions as products: a row of inputs is a window of a channels-last buffer, nothing is unrolled into columns.
//
// The wide part of the codec (many rows, weights that stay in the cache) is taken a frame of a stream at a time, by one
// thread or by the crew; its bound is arithmetic. The narrow part (two rows a frame, weights of megabytes) is taken with
// all rows together, so that weights are read once; its bound is reading them.
#pragma once

// A frame's inputs behind what the frame before left.
static inline void begin_with_tail(const Conv& c, const float* tails, float* buffer) {
    __builtin_memcpy(buffer, tails + c.tail, (size_t)c.kept * 4);
}
static inline void keep_tail(const Conv& c, const float* buffer, int rows, float* tails) {
    __builtin_memcpy(tails + c.tail, buffer + (int64_t)rows * c.step, (size_t)c.kept * 4);
}

// put(at, v, count) is given the results of one frame's window buffer, `count` numbers from `at` on.
template <class Put> static void convolve(const Team& team, const Conv& c, const float* buffer, Put put) {
    const Range my = team.mine(c.rows);
    const Inputs x = {(const uint8_t*)(buffer + (int64_t)my.from * c.step), (int64_t)c.step * 4, nullptr, nullptr, 1};
    const auto sink = [&](int row, int block, int blocks, const float* values) {
        const int64_t at = (int64_t)(my.from + row) * c.width;
        const int from = block * CHANNELS, to = from + blocks * CHANNELS < c.width ? from + blocks * CHANNELS : c.width;
        for (int i = from; i < to; i += LANES)
            put(at + i, load<Floats>(values + (i - from)) + load<Floats>(c.bias + i), to - i);
    };
    if (my.to > my.from) product(c.w, x, my.to - my.from, 0, c.w.outputs / CHANNELS, sink);
    team.wait();
}
