// Convolutions as products: a row of inputs is a window of a channels-last buffer, nothing is unrolled into columns.
//
// The wide part of the codec (many rows, weights that stay in the cache) is taken a frame of a stream at a time, by one
// thread or by the crew; its bound is arithmetic. The narrow part (two rows a frame, weights of megabytes) is taken with
// all rows together, so that weights are read once; its bound is reading them.
//
// In INT8 the wide part's results are floats until a frame has all of them: what is stored then is not yet the ELU, and
// the tail before it neither.
#pragma once

static inline Window window_of(const Conv& c, float* buffer) { return {(uint8_t*)buffer, c.buffer}; }

// Where a frame's inputs lie before they are what the buffer's format says: bytes are made of floats, all at once.
static inline Window made_of(const Conv& c, float* buffer) {
    return {(uint8_t*)buffer, c.buffer == INT8 ? FLOAT32 : c.buffer};
}

// A frame's inputs behind what the frame before left.
static inline void begin_with_tail(const Conv& c, const float* tails, float* buffer) {
    __builtin_memcpy(buffer, tails + c.tail, (size_t)c.kept * made_of(c, buffer).size());
}
static inline void keep_tail(const Conv& c, float* buffer, int rows, float* tails) {
    const Window from = made_of(c, buffer);
    __builtin_memcpy(tails + c.tail, from.at((int64_t)rows * c.step), (size_t)c.kept * from.size());
}

// Weights of zero pad a window to whole steps: what they meet behind the last one must be a number.
static inline void end_window(const Conv& c, float* buffer) {
    const int64_t end = (int64_t)(c.rows - 1) * c.step + c.kept + c.step;
    window_of(c, buffer).clear(end, c.w.inputs - c.kept - c.step);
}

// What a convolution is given: its buffer and, of bytes, what they stand for, zero + scale * byte.
struct Fed {
    float* buffer;
    float scale, zero;
};

// The ELU of a frame and its tail, behind one another from `x` on, as the bytes of a convolution's buffer. The range of all of
// them is that of the bytes: windows overlap, so that no row could have a scale of its own.
static Fed round_frame(const Team& team, const Conv& c, const float* x, float* buffer) {
    const int count = c.kept + c.rows * c.step, whole = count / LANES * LANES;
    float least = x[0], most = x[0];
    if (whole) {
        Floats low = load<Floats>(x), high = low;
        for (int i = LANES; i < whole; i += LANES) {
            const Floats v = load<Floats>(x + i);
            low = smaller(low, v), high = larger(high, v);
        }
        least = -largest(-low), most = largest(high);
    }
    for (int i = whole; i < count; i++) least = x[i] < least ? x[i] : least, most = x[i] > most ? x[i] : most;
    const float low = elu(all(least))[0], range = elu(all(most))[0] - low, inverse = range > 0 ? 255.0f / range : 0;
    uint8_t* const to = window_of(c, buffer).data;
    const Range my = team.mine(whole / LANES);
    const auto bytes = [=](Floats v, int8_t* out) { narrow(rounded((elu(v) - low) * inverse) - 128, out); };
    for (int i = my.from * LANES; i < my.to * LANES; i += LANES) bytes(load<Floats>(x + i), (int8_t*)to + i);
    if (team.thread == 0) end_window(c, buffer);  // here, as the sum of a row's bytes has what pads it in it
    if (team.thread == 0 && whole < count) {
        Floats last{};
        int8_t out[LANES];
        __builtin_memcpy(&last, x + whole, (size_t)(count - whole) * 4);
        bytes(last, out);
        __builtin_memcpy(to + whole, out, (size_t)(count - whole));
    }
    team.wait();
    return {buffer, range / 255, low + 128 * (range / 255)};
}

// Of `count` bytes from each row on; some bytes behind them are read too.
static inline void add_up(const Inputs& x, int count, int rows, float* sums) {
    constexpr int VECTOR = LANES * 4;
    uint8_t left[VECTOR] = {};
    for (int i = 0; i < count % VECTOR; i++) left[i] = 255;
    const Ints ones = all(0x01010101), mask = load<Ints>(left);
    for (int row = 0; row < rows; row++) {
        const uint8_t* from = x.data + row * x.stride;
        Ints total{};
        int i = 0;
        for (; i + VECTOR <= count; i += VECTOR) total = dot_bytes(total, ones, load<Ints>(from + i));
        if (i < count) total = dot_bytes(total, ones, load<Ints>(from + i) & mask);
        sums[row] = (float)sum(total);
    }
}

constexpr int SUMMED = 96;  // rows of bytes that are multiplied at once: each needs a sum

// put(at, v, count) is given the results of one frame's window buffer, `count` numbers from `at` on.
template <class Put> static void convolve(const Team& team, const Conv& c, const Fed& fed, Put put) {
    const Range my = team.mine(c.rows);
    const Window window = window_of(c, fed.buffer);
    const bool bytes = c.buffer == INT8;
    if (!bytes && my.to == c.rows) end_window(c, fed.buffer);
    float scales[SUMMED], sums[SUMMED];
    for (float& scale : scales) scale = fed.scale;
    for (int begin = my.from, rows; begin < my.to; begin += rows) {
        rows = bytes && my.to - begin > SUMMED ? SUMMED : my.to - begin;
        const Inputs x = {window.at((int64_t)begin * c.step), (int64_t)c.step * window.size(), scales, sums};
        if (bytes) add_up(x, c.w.inputs, rows, sums);
        product(c.w, x, rows, 0, c.w.outputs / CHANNELS, [&](int row, int block, int blocks, const float* values) {
            const int64_t at = (int64_t)(begin + row) * c.width;
            const int from = block * CHANNELS, to = from + blocks * CHANNELS < c.width ? from + blocks * CHANNELS : c.width;
            for (int i = from; i < to; i += LANES) {
                Floats v = load<Floats>(values + (i - from)) + load<Floats>(c.bias + i);
                if (bytes) v += load<Floats>(c.sums + i) * fed.zero;
                put(at + i, v, to - i);
            }
        });
    }
    team.wait();
}

// What a frame is in on its way through the wide part.
struct Lane {
    float *x, *loud;       // what a residual block is given, and its ELU behind the tail of `narrow`
    float *narrow, *wide;  // inside the block; what comes out of it, its ELU behind the tail of the next convolution
    Lane(float* memory, int64_t region, int64_t room)
        : x(memory + room), loud(memory + region), narrow(memory + 2 * region), wide(memory + 3 * region) {}
};

// A frame's tail of `c`, before results come behind it: where they do, or, of bytes, where these are made from.
static inline void begin_behind_tail(const Team& team, const Conv& c, const Lane& lane, float* buffer, const float* tails) {
    if (team.thread == 0) begin_with_tail(c, tails, c.buffer == INT8 ? lane.x - c.kept : buffer);
}

// Results of `c` as what the block of `narrow` is given.
static inline void into_block(const Team& team, const Conv& c, const Fed& fed, const Conv& narrow, const Lane& lane) {
    float* x = lane.x;
    const Window loud = window_of(narrow, lane.loud);
    const bool bytes = narrow.buffer == INT8;
    convolve(team, c, fed, [=, &narrow](int64_t at, Floats v, int count) {
        store_some(x + at, v, count);
        if (!bytes) loud.put(narrow.kept + at, elu(v), count);
    });
}

// lane.wide = elu(x + widen(elu(narrow(elu x)))), the inputs of `next`; block: narrow and widen. Bytes are made of x itself
// when there is all of it, and of what `narrow` leaves in the room of lane.wide, which is not needed yet.
static inline Fed residual(const Team& team, const Conv* block, const Conv& next, const Lane& lane, float* tails) {
    float *x = lane.x, *made = lane.wide;
    const Conv &narrow = block[0], &widen = block[1];
    const Window inside = window_of(widen, lane.narrow), wide = window_of(next, lane.wide);
    Fed loud = {lane.loud}, small = {lane.narrow};
    if (narrow.buffer == INT8) loud = round_frame(team, narrow, x - narrow.kept, lane.loud);
    if (team.thread == 0) keep_tail(narrow, narrow.buffer == INT8 ? x - narrow.kept : lane.loud, narrow.rows, tails);
    convolve(team, narrow, loud, [=, &widen](int64_t at, Floats v, int count) {
        if (widen.buffer == INT8) return store_some(made + at, v, count);
        inside.put(at, elu(v), count);
    });
    if (widen.buffer == INT8) small = round_frame(team, widen, made, lane.narrow);
    begin_behind_tail(team, next, lane, lane.wide, tails);
    convolve(team, widen, small, [=, &next](int64_t at, Floats v, int count) {
        v += load<Floats>(x + at);
        if (next.buffer == INT8) return store_some(x + at, v, count);
        wide.put(next.kept + at, elu(v), count);
    });
    Fed out = {lane.wide};
    if (next.buffer == INT8) out = round_frame(team, next, x - next.kept, lane.wide);
    if (team.thread == 0) keep_tail(next, next.buffer == INT8 ? x - next.kept : lane.wide, next.rows, tails);
    return out;
}

// visit(team, lane, stream, frame) for every frame of every stream, frames in order: whole streams for each thread, and what
// is left over for the crew.
template <class Visit>
static void share_streams(const Team& crew, int streams, int frames, const CodecWorkspace& work, Visit visit) {
    const int whole = streams / crew.threads * crew.threads;
    const Lane own(work.lanes + crew.thread * 4 * work.region, work.region, work.room), common(work.lanes, work.region, work.room);
    for (int stream = crew.thread; stream < whole; stream += crew.threads)
        for (int frame = 0; frame < frames; frame++) visit(Team{0, 1, nullptr}, own, stream, frame);
    crew.wait();
    for (int stream = whole; stream < streams; stream++)
        for (int frame = 0; frame < frames; frame++) visit(crew, common, stream, frame);
}
