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

// Asks for lines into cache 3 (the first) or 2.
template <int Count, int Cache> static inline void ask_for(const uint8_t* line) {
    for (int i = 0; i < Count; i++) __builtin_prefetch(line + i * LINE, 0, Cache);
}

template <int Format, int C, int A, int B> static inline void add_tile() {
    if constexpr (Format == BFLOAT16)
        add_bfloat16<C, A, B>();
    else
        add_signed_unsigned<C, A, B>();
}

// out[R][16][B * 16] = 16 rows from each of `rows` on, times B blocks; bytes are left as integers. Several blocks share the
// loads of the inputs, and the processor, which sees as many streams of lines coming, reads them faster than one. They are
// asked for into the first cache where `ask` says so: from the second one a tile waits for its lines.
template <int Format, int R, int B>
static void tiles_of_lines(const Lines& w, int block, const Inputs& x, const int (&rows)[SUMS], bool ask, float* out) {
    const uint8_t *line = w.data + block * w.block, *from[R];
    for (int r = 0; r < R; r++) from[r] = x.data + rows[r] * x.stride;
    each<R * B>([](auto sum) { zero_tile<sum.value>(); });
    for (int k = 0; k < w.steps / TILE_ROWS; k++, line += TILE) {
        each<B>([&](auto b) {
            const uint8_t* at = line + b.value * w.block;
            if (ask) ask_for<TILE_ROWS, 3>(at + TILE);
            load_tile<WEIGHTS>(at, LINE);
            each<R>([&](auto r) {
                if (R > 1 || b.value == 0) load_tile<INPUTS>(from[r.value] + k * LINE, x.stride);
                add_tile<Format, r.value * B + b.value, INPUTS, WEIGHTS>();
            });
        });
    }
    if (w.steps % TILE_ROWS)
        each<B>([&](auto b) {
            load_tile<LAST_WEIGHTS>(line + b.value * w.block, LINE);
            each<R>([&](auto r) {
                load_tile<LAST_INPUTS>(from[r.value] + w.steps / TILE_ROWS * LINE, x.stride);
                add_tile<Format, r.value * B + b.value, LAST_INPUTS, LAST_WEIGHTS>();
            });
        });
    each<R * B>([&](auto sum) {
        store_tile<sum.value>(out + (sum.value / B * TILE_ROWS * B + sum.value % B) * CHANNELS, B * LINE);
    });
}

template <int Format>
static void tiles_of(int count, int blocks, const Lines& w, int block, const Inputs& x, const int (&rows)[SUMS], bool ask,
                     float* out) {
    switch (count * SUMS + blocks) {
        case 4 * SUMS + 1: return tiles_of_lines<Format, 4, 1>(w, block, x, rows, ask, out);
        case 3 * SUMS + 1: return tiles_of_lines<Format, 3, 1>(w, block, x, rows, ask, out);
        case 2 * SUMS + 2: return tiles_of_lines<Format, 2, 2>(w, block, x, rows, ask, out);
        case 2 * SUMS + 1: return tiles_of_lines<Format, 2, 1>(w, block, x, rows, ask, out);
        case 1 * SUMS + 4: return tiles_of_lines<Format, 1, 4>(w, block, x, rows, ask, out);
        default: return tiles_of_lines<Format, 1, 1>(w, block, x, rows, ask, out);
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

// out[rows][16] = up to 16 rows from `row` on, times one block of INT4. While a group is multiplied, the second one behind it
// is widened, the one before it is stored and the one before that added up: a tile that is loaded where vectors have just
// been stored waits for them, and vectors for a tile. All four in turn for every group, so that lines are asked for evenly.
static void tiles_of_groups(const Lines& w, const float* scales, int block, const Inputs& x, int row, int rows, bool ask,
                            float* out) {
    constexpr int BYTES = GROUP_LINES * LINE, FAR = 32;  // groups
    const int groups = w.steps / GROUP_LINES;
    const uint8_t *line = w.data + block * w.block, *from = x.data + row * x.stride;
    const float* scale = scales + (int64_t)block * (groups + 1) * CHANNELS;
    const auto scale_of = [=](int group, int p) { return load<Floats>(scale + group * CHANNELS + p * LANES); };
    alignas(64) uint8_t weights[SUMS][TILE];
    alignas(64) int32_t sums[SUMS][TILE_ROWS * CHANNELS];
    Floats totals[TILE_ROWS][PARTS];  // in registers, as these loops are unrolled
#pragma GCC unroll 16
    for (int m = 0; m < TILE_ROWS; m++)
        for (int p = 0; p < PARTS; p++) totals[m][p] = scale_of(groups, p);
    for (int g = 0; g < 2 && g < groups; g++) widen_group(line + g * BYTES, weights[g]);
    for (int begin = 0; begin < groups + 2; begin += SUMS)
        each<SUMS>([&](auto i) {
            constexpr int before = (i.value + SUMS - 1) % SUMS, earlier = (i.value + 2) % SUMS;
            const int g = begin + i.value;
            if (g < groups) {
                if (ask) ask_for<GROUP_LINES, 2>(line + (g + FAR) * BYTES);
                if (ask) ask_for<1, 2>((const uint8_t*)(scale + (g + FAR) * CHANNELS));
                zero_tile<i.value>();
                load_tile<WEIGHTS>(weights[i.value], LINE);
                load_tile<INPUTS>(from + g * GROUP, x.stride);
                add_unsigned_signed<i.value, INPUTS, WEIGHTS>();
            }
            if (g + 2 < groups) widen_group(line + (g + 2) * BYTES, weights[earlier]);
            if (g >= 1 && g <= groups) store_tile<before>(sums[before], LINE);
            if (g < 2 || g >= groups + 2) return;
#pragma GCC unroll 16
            for (int m = 0; m < TILE_ROWS; m++) {
                if (m >= rows) break;
                for (int p = 0; p < PARTS; p++)
                    totals[m][p] += converted(load<Ints>(sums[earlier] + m * CHANNELS + p * LANES)) * scale_of(g - 2, p);
            }
        });
#pragma GCC unroll 16
    for (int m = 0; m < TILE_ROWS; m++) {
        if (m >= rows) break;
        for (int p = 0; p < PARTS; p++) store(out + m * CHANNELS + p * LANES, totals[m][p] * x.scales[row + m]);
    }
}

// As `product`, of any format but FLOAT32. Rows are shared by as few tiles as can be, all as tall: where they are no
// multiple of that, the last tile overlaps the one before, whose results are heard once.
template <class Sink>
static void tiled_product(const Matrix& w, const Inputs& x, int rows, int from, int to, Sink sink) {
    if (rows == 0 || from == to) return;
    const bool halves = w.format == INT4;
    const int steps = w.inputs / inputs_of_a_step(w.format), needed = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const int tall = (rows + needed - 1) / needed, most = (halves ? 1 : SUMS) * tall, passes = (rows + most - 1) / most;
    const Lines lines = {w.data, (int64_t)steps * LINE, LINE, steps};
    const Configured tiles(tall, halves ? 0 : steps % TILE_ROWS);
    alignas(64) float out[SUMS * TILE_ROWS * CHANNELS];
    for (int block = from, blocks; block < to; block += blocks) {
        const int many = halves || needed > 2 ? 1 : SUMS / needed;
        blocks = to - block >= many ? many : 1;
        for (int pass = 0, heard = 0; pass < passes; pass++) {
            int begin[SUMS], count = 0;
            for (int row = heard; row < rows && row < heard + most; row += tall)
                begin[count++] = row + tall < rows ? row : rows - tall;
            const bool ask = pass == 0;  // later ones find the lines in the cache
            if (w.format == INT4)
                tiles_of_groups(lines, w.scales, block, x, begin[0], tall, ask, out);
            else if (w.format == INT8)
                tiles_of<INT8>(count, blocks, lines, block, x, begin, ask, out);
            else
                tiles_of<BFLOAT16>(count, blocks, lines, block, x, begin, ask, out);
            for (int i = 0; i < count; i++) {
                float* values = out + i * TILE_ROWS * blocks * CHANNELS;
                if (w.format == INT8) scale_bytes(values, tall, blocks, w.scales, block, x, begin[i]);
                for (; heard < begin[i] + tall; heard++)
                    sink(heard, block, blocks, values + (heard - begin[i]) * blocks * CHANNELS);
            }
        }
    }
}
