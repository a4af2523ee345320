// The instructions of AMX that products use, each by the name of what it does: eight tiles of up to 16 rows of 64 bytes, of
// which one product adds to a third. As they are, or, with EMULATE_TILES, in C++: what runs then on any machine is the same
// text above these few functions.
#pragma once

// Of every tile the rows and the bytes of a row; what a tile is not used for is 0. As the processor reads it.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

#if !defined(EMULATE_TILES)
// Not the compilers' own functions: gcc's do not say that memory is read, so that it may leave out what was written there.
#define TILE(name) "%%tmm%c[" #name "]"

static inline void configure_tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
static inline void release_tiles() { asm volatile("tilerelease"); }

template <int T> static inline void zero_tile() { asm volatile("tilezero " TILE(t)::[t] "i"(T)); }

template <int T> static inline void load_tile(const void* from, int64_t stride) {
    asm volatile("tileloadd (%[from],%[stride],1), " TILE(t)::[t] "i"(T), [from] "r"(from), [stride] "r"(stride) : "memory");
}
template <int T> static inline void store_tile(void* to, int64_t stride) {
    asm volatile("tilestored " TILE(t) ", (%[to],%[stride],1)" ::[t] "i"(T), [to] "r"(to), [stride] "r"(stride) : "memory");
}

#define ADD_PRODUCT(name, instruction)                                                        \
    template <int C, int A, int B> static inline void name() {                               \
        asm volatile(instruction " " TILE(b) ", " TILE(a) ", " TILE(c)::[a] "i"(A), [b] "i"(B), [c] "i"(C)); \
    }
ADD_PRODUCT(add_bfloat16, "tdpbf16ps")       // C += A B of pairs of bfloat16, to floats
ADD_PRODUCT(add_signed_unsigned, "tdpbsud")  // of four bytes of A, signed, and four of B, unsigned; to integers
ADD_PRODUCT(add_unsigned_signed, "tdpbusd")  // and the other way round
#undef ADD_PRODUCT
#undef TILE

#else
// As Intel's manual defines them (Software Developer's Manual, volume 2, of each instruction the part "Operation"); what it
// answers with a fault, with a trap. Rows and bytes beyond a tile's shape are zero.
struct Tiles {
    TileShapes shapes;
    bool configured = false;
    alignas(64) uint8_t data[8][16][64];
};
static thread_local Tiles tiles;

static inline void require(bool right) {
    if (!right) __builtin_trap();
}
static inline void require_shape(int t) { require(tiles.configured && tiles.shapes.rows[t]); }

static void configure_tiles(const TileShapes& shapes) {
    require(shapes.palette == 1 && shapes.start_row == 0);
    for (const uint8_t byte : shapes.reserved) require(byte == 0);
    for (int t = 0; t < 16; t++) {
        require(t < 8 ? shapes.rows[t] <= 16 && shapes.bytes[t] <= 64 : !shapes.rows[t]);
        require(!shapes.rows[t] == !shapes.bytes[t]);
    }
    tiles.shapes = shapes;
    tiles.configured = true;
    __builtin_memset(tiles.data, 0, sizeof tiles.data);
}
static void release_tiles() { tiles.configured = false; }

template <int T> static void zero_tile() {
    require_shape(T);
    __builtin_memset(tiles.data[T], 0, sizeof tiles.data[T]);
}
template <int T> static void load_tile(const void* from, int64_t stride) {
    zero_tile<T>();
    for (int row = 0; row < tiles.shapes.rows[T]; row++)
        __builtin_memcpy(tiles.data[T][row], (const uint8_t*)from + row * stride, tiles.shapes.bytes[T]);
}
template <int T> static void store_tile(void* to, int64_t stride) {
    require_shape(T);
    for (int row = 0; row < tiles.shapes.rows[T]; row++)
        __builtin_memcpy((uint8_t*)to + row * stride, tiles.data[T][row], tiles.shapes.bytes[T]);
}

// row(sums, a, row of b, columns) for every row of C: `a` are the 32 bits of a row of A that meet each row of B.
template <int C, int A, int B, class Row> static void add_rows(Row row) {
    static_assert(C != A && C != B && A != B);
    const TileShapes& s = tiles.shapes;
    require_shape(C), require_shape(A), require_shape(B);
    require(s.rows[C] == s.rows[A] && s.bytes[C] == s.bytes[B] && s.bytes[A] == 4 * s.rows[B] && s.bytes[C] % 4 == 0);
    for (int m = 0; m < s.rows[C]; m++) row(tiles.data[C][m], tiles.data[A][m], s.rows[B], s.bytes[C] / 4);
}

// Sums of even and of odd pairs, each by fused multiply-adds, are added to one another and then to C. Numbers below 1e-38
// count as zero there whatever the thread says; a crew's threads say so (crew.cpp).
template <int C, int A, int B> static void add_bfloat16() {
    add_rows<C, A, B>([](uint8_t* sums, const uint8_t* a, int steps, int columns) {
        float even[16] = {}, odd[16] = {}, total[16];
        for (int k = 0; k < steps; k++) {
            uint16_t x[2], w[16][2];
            __builtin_memcpy(x, a + 4 * k, 4);
            __builtin_memcpy(w, tiles.data[B][k], 64);
            for (int n = 0; n < 16; n++) even[n] = __builtin_fmaf(from_bfloat16(x[0]), from_bfloat16(w[n][0]), even[n]);
            for (int n = 0; n < 16; n++) odd[n] = __builtin_fmaf(from_bfloat16(x[1]), from_bfloat16(w[n][1]), odd[n]);
        }
        __builtin_memcpy(total, sums, 64);
        for (int n = 0; n < columns; n++) total[n] += even[n] + odd[n];
        __builtin_memcpy(sums, total, 64);
    });
}
template <int C, int A, int B, class OfA, class OfB> static void add_bytes() {
    add_rows<C, A, B>([](uint8_t* sums, const uint8_t* a, int steps, int columns) {
        int32_t total[16];
        __builtin_memcpy(total, sums, 64);
        for (int k = 0; k < steps; k++)
            for (int n = 0; n < columns; n++)
                for (int j = 0; j < 4; j++) total[n] += (OfA)a[4 * k + j] * (OfB)tiles.data[B][k][4 * n + j];
        __builtin_memcpy(sums, total, 64);
    });
}
template <int C, int A, int B> static void add_signed_unsigned() { add_bytes<C, A, B, int8_t, uint8_t>(); }
template <int C, int A, int B> static void add_unsigned_signed() { add_bytes<C, A, B, uint8_t, int8_t>(); }
#endif
