// `product` on AMX. The 16 lines of a block that lie behind one another are a tile as they are, and so are 64 bytes of each
// of 16 rows of inputs. All rows take this way, however few, so that a row's results do not depend on how many there are.
//
// Blocks are read one after the other, as they lie in memory, each line once for up to 64 rows, whose sums are four tiles.
// Integers, and the floats that become of them, are those of the other instruction sets; of bfloat16 the sums have an order
// of their own (tiles.h). INT4: a tile is one group of inputs, whose integers must become floats before the next group's are
// added, and whose nibbles must be bytes in the cache before: some 200 instructions for 512 bytes of weights and 16 rows.
// Further rows take them anew.
#pragma once

constexpr int TILE_ROWS = 16, TILE = TILE_ROWS * LINE;
constexpr int SUMS = 4;                                                    // tiles 0 to 3
constexpr int INPUTS = 4, WEIGHTS = 5, LAST_INPUTS = 6, LAST_WEIGHTS = 7;  // the last are of fewer than 16 lines

// Tiles for so many rows of inputs and, of the last, so many lines, while this lives. Beyond it a thread has no tiles, so
// that none need be saved when it waits.
struct Configured {
    Configured(int rows, int last) {
        TileShapes shapes;
        const auto shape = [&](int tile, int count, int bytes) {
            shapes.rows[tile] = (uint8_t)count;
            shapes.bytes[tile] = (uint16_t)bytes;
        };
        for (int i = 0; i < SUMS; i++) shape(i, rows, LINE);
        shape(INPUTS, rows, LINE);
        shape(WEIGHTS, TILE_ROWS, LINE);
        if (last) shape(LAST_INPUTS, rows, 4 * last);
        if (last) shape(LAST_WEIGHTS, last, LINE);
        configure_tiles(shapes);
    }
    ~Configured() { release_tiles(); }
};

template <int I> struct Index {
    static constexpr int value = I;
};
template <int Count, int From = 0, class Do> static inline void each(Do what) {
    what(Index<From>{});
    if constexpr (From + 1 < Count) each<Count, From + 1>(what);
}

template <int Format, int C, int A, int B> static inline void add_tile() {
    if constexpr (Format == BFLOAT16)
        add_bfloat16<C, A, B>();
    else
        add_signed_unsigned<C, A, B>();
}

// out[Count][16][16] = 16 rows from each of `rows` on, times one block; bytes are left as integers.
template <int Format, int Count>
static void tiles_of_lines(const Lines& w, int block, const Inputs& x, const int (&rows)[SUMS], Ahead ahead, float* out) {
    const uint8_t *line = w.data + block * w.block, *from[Count];
    for (int i = 0; i < Count; i++) from[i] = x.data + rows[i] * x.stride;
    each<Count>([](auto i) { zero_tile<i.value>(); });
    for (int k = 0; k < w.steps / TILE_ROWS; k++, line += TILE) {
        ahead.ask();
        load_tile<WEIGHTS>(line, LINE);
        each<Count>([&](auto i) {
            load_tile<INPUTS>(from[i.value], x.stride);
            add_tile<Format, i.value, INPUTS, WEIGHTS>();
            from[i.value] += LINE;
        });
    }
    if (w.steps % TILE_ROWS) {
        load_tile<LAST_WEIGHTS>(line, LINE);
        each<Count>([&](auto i) {
            load_tile<LAST_INPUTS>(from[i.value], x.stride);
            add_tile<Format, i.value, LAST_INPUTS, LAST_WEIGHTS>();
        });
    }
    each<Count>([&](auto i) { store_tile<i.value>(out + i.value * TILE_ROWS * CHANNELS, LINE); });
}

template <int Format>
static void tiles_of(int count, const Lines& w, int block, const Inputs& x, const int (&rows)[SUMS], Ahead ahead, float* out) {
    switch (count) {
        case 4: return tiles_of_lines<Format, 4>(w, block, x, rows, ahead, out);
        case 3: return tiles_of_lines<Format, 3>(w, block, x, rows, ahead, out);
        case 2: return tiles_of_lines<Format, 2>(w, block, x, rows, ahead, out);
        default: return tiles_of_lines<Format, 1>(w, block, x, rows, ahead, out);
    }
}

constexpr int GROUP_LINES = GROUP / 8;

// The lines of a group of INT4 as those of bytes: each is two, of the low halves and of the high ones.
static inline void widen_group(const uint8_t* line, uint8_t* out) {
    for (int i = 0; i < GROUP_LINES * LINE; i += LANES * 4) {
        const Ints both = load<Ints>(line + i);
        uint8_t* to = out + i / LINE * 2 * LINE + i % LINE;
        store(to, lower_halves(both));
        store(to + LINE, upper_halves(both));
    }
}

// out[rows][16] = up to 16 rows from `row` on, times one block of INT4. While a group is multiplied, the one behind it is
// widened and the one before it is added up: neither waits for the other.
static void tiles_of_groups(const Lines& w, const float* scales, int block, const Inputs& x, int row, int rows, Ahead ahead,
                            float* out) {
    const int groups = w.steps / GROUP_LINES;
    const uint8_t *line = w.data + block * w.block, *from = x.data + row * x.stride;
    const auto scale_of = [=](int group, int p) {
        return load<Floats>(scales + ((int64_t)block * (groups + 1) + group) * CHANNELS + p * LANES);
    };
    alignas(64) uint8_t weights[2][TILE];
    alignas(64) int32_t sums[2][TILE_ROWS * CHANNELS];
    Floats totals[TILE_ROWS][PARTS];  // in registers, as these loops are unrolled
#pragma GCC unroll 16
    for (int m = 0; m < TILE_ROWS; m++)
        for (int p = 0; p < PARTS; p++) totals[m][p] = scale_of(groups, p);
    widen_group(line, weights[0]);
    for (int g = 0; g <= groups; g++) {
        if (g < groups) {
            zero_tile<0>();
            load_tile<WEIGHTS>(weights[g % 2], LINE);
            load_tile<INPUTS>(from + g * GROUP, x.stride);
            add_unsigned_signed<0, INPUTS, WEIGHTS>();
            store_tile<0>(sums[g % 2], LINE);
            ahead.ask();
            if (ahead.lines) __builtin_prefetch(scales + ((int64_t)(block + 1) * (groups + 1) + g) * CHANNELS, 0, 2);
        }
        if (g + 1 < groups) widen_group(line += GROUP_LINES * LINE, weights[(g + 1) % 2]);
        if (g == 0) continue;
        const int32_t* sum = sums[(g - 1) % 2];
#pragma GCC unroll 16
        for (int m = 0; m < TILE_ROWS; m++) {
            if (m >= rows) break;
            for (int p = 0; p < PARTS; p++)
                totals[m][p] += converted(load<Ints>(sum + m * CHANNELS + p * LANES)) * scale_of(g - 1, p);
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < TILE_ROWS; m++) {
        if (m >= rows) break;
        for (int p = 0; p < PARTS; p++) store(out + m * CHANNELS + p * LANES, totals[m][p] * x.scales[row + m]);
    }
}

// As `product`, of any format but FLOAT32. Where rows are no multiple of 16, the last 16 overlap those before, whose results
// are heard once.
template <class Sink>
static void tiled_product(const Matrix& w, const Inputs& x, int rows, int from, int to, Sink sink) {
    if (rows == 0 || from == to) return;
    const bool halves = w.format == INT4;
    const int steps = w.inputs / inputs_of_a_step(w.format), tall = rows < TILE_ROWS ? rows : TILE_ROWS;
    const int most = (halves ? 1 : SUMS) * TILE_ROWS, passes = (rows + most - 1) / most;
    const int of_a_tile = halves ? GROUP_LINES : TILE_ROWS, each = (of_a_tile + passes - 1) / passes;
    const Lines lines = {w.data, (int64_t)steps * LINE, LINE, steps};
    const Configured tiles(tall, halves ? 0 : steps % TILE_ROWS);
    alignas(64) float out[SUMS * TILE_ROWS * CHANNELS];
    for (int block = from; block < to; block++)
        for (int pass = 0, heard = 0; pass < passes; pass++) {
            int begin[SUMS], count = 0;
            for (int row = heard; row < rows && row < heard + most; row += TILE_ROWS)
                begin[count++] = row + tall < rows ? row : rows - tall;
            // All passes together ask for the lines of the next block, so that these come while all of them multiply.
            const Ahead ahead = {lines.data + (block + 1) * lines.block + (int64_t)each * pass * (steps / of_a_tile) * LINE,
                                 each * LINE, block + 1 < to && each * pass < of_a_tile ? each : 0};
            if (w.format == INT4)
                tiles_of_groups(lines, w.scales, block, x, begin[0], tall, ahead, out);
            else if (w.format == INT8)
                tiles_of<INT8>(count, lines, block, x, begin, ahead, out);
            else
                tiles_of<BFLOAT16>(count, lines, block, x, begin, ahead, out);
            for (int i = 0; i < count; i++) {
                float* values = out + i * TILE_ROWS * CHANNELS;
                if (w.format == INT8) scale_bytes(values, tall, 1, w.scales, block, x, begin[i]);
                for (; heard < begin[i] + tall; heard++) sink(heard, block, 1, values + (heard - begin[i]) * CHANNELS);
            }
        }
}
