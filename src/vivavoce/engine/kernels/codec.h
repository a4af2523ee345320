// What the codec's kernels are given: plain structs, mirrored by codec_structures.py.
#pragma once
#include "model.h"

// A causal convolution: row r of the results is W x[r * step ...] + bias, its window behind one another in channels-last
// memory. Several moments may be one row (packing in codec_weights.py), so that narrow layers too fill their lines.
struct Conv {
    Matrix w;           // inputs: a window's kept + step numbers, then padding
    const float* bias;  // [w.outputs]
    const float* sums;  // [w.outputs]: of an output's weights; of a buffer of bytes, else null
    int32_t step;       // numbers from one row's window to the next
    int32_t kept;       // numbers of the first window that the frame before brought
    int32_t tail;       // where they lie among the tails of a slot
    int32_t width;      // numbers of a row of results; behind them lies padding, up to w.outputs
    int32_t rows;       // of a frame
    int32_t buffer;     // format of the numbers in that memory: FLOAT32, or as the matrix BFLOAT16 or INT8
};

struct CodecLayer {
    const float *norm1, *bias1, *norm2, *bias2;  // [width]
    Matrix qkv;                                  // as in model.h
    Matrix out, inner, outer;                    // out and outer with the layer's scales in their rows
};

struct CodecTransformer {
    const CodecLayer* layers;
    const double* frequencies;  // [head_width / 2]: radians a position
    int32_t layer_count, dim, width, head_count, head_dim, head_width, context;
};

// Entry c scores r e_c - |e_c|^2 / 2.
struct Book {
    Matrix w;              // outputs: entries; what is rounded here only makes a short list
    const float* entries;  // [bins][width]
    const float* halves;   // [w.outputs]: |e|^2 / 2, infinite for padding
    float rounded, longest;  // the largest |e - w|, the largest |w|
};

struct Quantiser {
    const Book* books;
    Matrix project;  // outputs: of the semantic half, of the acoustic one, each padded to `width`
    int32_t codebooks, bins, width;
};

struct Encoder {
    const Conv* convs;  // the first; of each stage: narrow, widen, down; the last; downsample
    CodecTransformer transformer;
    Quantiser quantiser;
    int32_t stages, frame_size;
};

struct Decoder {
    const Conv* convs;            // the first; of each stage: up, narrow, widen; the last
    const float* const* entries;  // of each codebook, [bins][width]
    Matrix project;               // inputs: the sums of the semantic half and of the acoustic one
    const float* upsample;        // [4][width of the transformer]
    CodecTransformer transformer;
    int32_t codebooks, bins, width, stages, frame_size, upsample_tail;
};

struct CodecCall {
    const int64_t* slots;  // [batch]
    float* audio;          // [batch][count * frame_size]
    int64_t* codes;        // [batch][count][codebooks]
    int64_t* position;     // [all slots], two a frame: moved on by 2 * count
    const int64_t* oldest;  // [all slots]
    float* tails;          // [all slots][tail_size]
    int32_t batch, count, codebooks, tail_size;
};

// Scratch of a call. A lane is one thread's, where it takes a whole stream through the wide part of the convolutions.
struct CodecWorkspace {
    Workspace rows;  // of two positions a frame
    float* lanes;    // [threads][4][region], the first of four behind `room` for a tail
    float* joined;   // [batch][joined_stride]: inputs of a convolution behind what the frame before left
    float* scores;   // [frames][bins, padded]
    int64_t region, joined_stride, room;
};

struct CodecStep {
    const Encoder* encoder;  // or
    const Decoder* decoder;
    const Memory* ring;
    const CodecCall* call;
    const CodecWorkspace* work;
    Crew* crew;
};
