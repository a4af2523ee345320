// Convolutions as products: a row of inputs is a window of a channels-last buffer, nothing is unrolled into columns.
//
// The wide part of the codec (many rows, weights that stay in the cache) is taken a frame of a stream at a time, by one
// thread or by the crew; its bound is arithmetic. The narrow part (two rows a frame, weights of megabytes) is taken with
// all rows together, so that weights are read once; its bound is reading them.
#pragma once

static inline Window window_of(const Conv& c, float* buffer) { return {(uint8_t*)buffer, c.buffer}; }

// A frame's inputs behind what the frame before left.
static inline void begin_with_tail(const Conv& c, const float* tails, float* buffer) {
    __builtin_memcpy(buffer, tails + c.tail, (size_t)c.kept * window_of(c, buffer).size());
}
static inline void keep_tail(const Conv& c, float* buffer, int rows, float* tails) {
    const Window window = window_of(c, buffer);
    __builtin_memcpy(tails + c.tail, window.at((int64_t)rows * c.step), (size_t)c.kept * window.size());
}

// put(at, v, count) is given the results of one frame's window buffer, `count` numbers from `at` on.
template <class Put> static void convolve(const Team& team, const Conv& c, float* buffer, Put put) {
    const Range my = team.mine(c.rows);
    const Window window = window_of(c, buffer);
    const Inputs x = {window.at((int64_t)my.from * c.step), (int64_t)c.step * window.size(), nullptr, nullptr};
    const auto sink = [&](int row, int block, int blocks, const float* values) {
        const int64_t at = (int64_t)(my.from + row) * c.width;
        const int from = block * CHANNELS, to = from + blocks * CHANNELS < c.width ? from + blocks * CHANNELS : c.width;
        for (int i = from; i < to; i += LANES)
            put(at + i, load<Floats>(values + (i - from)) + load<Floats>(c.bias + i), to - i);
    };
    // Weights of zero pad a window to whole steps: what they meet behind the last one must be a number.
    if (my.to == c.rows) window.put((int64_t)(c.rows - 1) * c.step + c.kept + c.step, Floats{}, c.w.inputs - c.kept - c.step);
    if (my.to > my.from) product(c.w, x, my.to - my.from, 0, c.w.outputs / CHANNELS, sink);
    team.wait();
}

// What a frame is in on its way through the wide part.
struct Lane {
    float *x, *loud;      // what a residual block is given, and its ELU behind the tail of `narrow`
    float *narrow, *wide;  // inside the block; what comes out of it, its ELU behind the tail of the next convolution
    Lane(float* memory, int64_t region)
        : x(memory), loud(memory + region), narrow(memory + 2 * region), wide(memory + 3 * region) {}
};

// Results of `c` as what the block of `narrow` is given.
static inline void into_block(const Team& team, const Conv& c, float* buffer, const Conv& narrow, const Lane& lane) {
    float* x = lane.x;
    const Window loud = window_of(narrow, lane.loud);
    convolve(team, c, buffer, [=, &narrow](int64_t at, Floats v, int count) {
        store_some(x + at, v, count);
        loud.put(narrow.kept + at, elu(v), count);
    });
}

// lane.wide = elu(x + widen(elu(narrow(elu x)))), the inputs of `next`; block: narrow and widen
static inline void residual(const Team& team, const Conv* block, const Conv& next, const Lane& lane, float* tails) {
    const float* x = lane.x;
    const Window inside = window_of(block[1], lane.narrow), wide = window_of(next, lane.wide);
    if (team.thread == 0) {
        keep_tail(block[0], lane.loud, block[0].rows, tails);
        begin_with_tail(next, tails, lane.wide);
    }
    convolve(team, block[0], lane.loud, [=](int64_t at, Floats v, int count) { inside.put(at, elu(v), count); });
    convolve(team, block[1], lane.narrow, [=, &next](int64_t at, Floats v, int count) {
        wide.put(next.kept + at, elu(v + load<Floats>(x + at)), count);
    });
    if (team.thread == 0) keep_tail(next, lane.wide, next.rows, tails);
}

// visit(team, lane, stream, frame) for every frame of every stream, frames in order: whole streams for each thread, and what
// is left over for the crew.
template <class Visit>
static void share_streams(const Team& crew, int streams, int frames, float* lanes, int64_t region, Visit visit) {
    const int whole = streams / crew.threads * crew.threads;
    const Lane own(lanes + crew.thread * 4 * region, region), common(lanes, region);
    for (int stream = crew.thread; stream < whole; stream += crew.threads)
        for (int frame = 0; frame < frames; frame++) visit(Team{0, 1, nullptr}, own, stream, frame);
    crew.wait();
    for (int stream = whole; stream < streams; stream++)
        for (int frame = 0; frame < frames; frame++) visit(crew, common, stream, frame);
}
