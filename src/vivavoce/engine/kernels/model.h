// What the kernels are given: plain structs, mirrored by structures.py. All sizes are padded as packing.py says.
#pragma once
#include <stdint.h>

enum Format : int32_t { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2, INT4 = 3 };

constexpr int CHANNELS = 16;  // output channels (or keys) of a block: one 64-byte line holds them for one step
constexpr int LINE = 64;      // bytes
constexpr int GROUP = 64;     // inputs that share a scale in INT4; what inputs are padded to

// y = W x. data: [outputs / 16][inputs / p][16][p], p inputs a step: 1, 2, 4 or 8 by format.
// INT8: w = (u8 - 128) * scales[output]. INT4: w = 16 * s4 * scales[output / 16][input / 64][16]; a byte of a line
// holds inputs 8s + j (low half) and 8s + 4 + j (high half) of step s. Behind each block's scales are -128 times the sums
// of its outputs' weights, [16].
struct Matrix {
    const uint8_t* data;
    const float* scales;
    int32_t format, outputs, inputs;
};

struct Layer {
    const float *norm1, *norm2;  // [width]
    Matrix qkv;                  // outputs [q; k; v], each [heads][head_width]; even places of a head before the odd ones
    Matrix out;                  // inputs [heads][head_width]
    Matrix inner;                // outputs in turn: 16 of the gate, 16 of what it gates
    Matrix outer;
    const float *norm_cross, *bias_cross;  // [width]; of a model that is conditioned, as are the next two
    Matrix cross_query;                    // outputs [heads][head_width]
    Matrix cross_out;                      // inputs [heads][head_width]
};

struct Model {
    const Layer* layers;
    const float* norm;
    Matrix heads;            // text logits, then those of the pauses
    const void* embeddings;     // [rows][dim], FLOAT32 or BFLOAT16
    const double* frequencies;  // [head_width / 2]: radians a position; in double, a day of steps is beyond a float
    const void* pairs;          // [2][text_card + 1][dim]: first and second text of ids that stand for two; or null
    int32_t embeddings_format, layer_count, dim, width, head_count, head_dim, head_width;
    int32_t codebooks, card, text_card, context;
    int32_t text_count, pause_heads, pause_classes;  // of the heads' outputs
};

// Keys and values of every slot: [layer][slot][head] of capacity (padded to 16) * head_width elements each.
// Keys of a head are a matrix as above whose outputs are positions; values are [capacity / p][head_width][p].
// INT4 is that of the values alone, keys are of INT8: v = u4 * value_scales[position] + least[position]; a byte of a line
// holds positions 8s + j (low half) and 8s + 4 + j (high half) of step s.
struct Memory {
    uint8_t *keys, *values;
    float *key_scales, *value_scales;  // INT8, INT4: [layer][slot][head][capacity]
    float* least;                      // INT4: of a position's values, likewise
    int32_t format, slots, capacity, padded;
};

struct Call {
    const int64_t *slots, *text, *codes;  // [batch], [batch][count], [batch][count][codebooks]
    int64_t* position;                    // [all slots]: moved on by `count`
    const int64_t* oldest;                // [all slots]
    float* logits;                        // [batch * count][heads.outputs], or null when nobody asks
    int64_t* token;                       // [batch * count]: the first of the likeliest texts; or null. With `logits` only
    float *norm, *logprob, *pauses;       // likewise: log of the sum of e^logit, the token's less that; [pause_heads]
    float* heard;                         // [batch * count][width]: what the heads are given; or null
    const float* added;                   // [all slots][width]: to every input of a slot; or null
    const Memory* source;                 // what slots are conditioned on, `capacity` places each; or null
    int32_t batch, count;
};

// Scratch of a call, rows = batch * count.
struct Workspace {
    float *hidden;    // [rows][width]: the residual stream
    float *wide;      // [rows][widest]
    float *attended;  // [rows][out.inputs]
    float *cosine, *sine;  // [rows][head_width / 2]
    uint8_t *packed;  // [rows][widest * 4]: inputs of the next product in its format
    float *scales, *sums;  // [rows]
    float *own;       // [threads][own_stride]
    int64_t own_stride;
    int32_t widest;
};

struct Crew;

struct Step {
    const Model* model;
    const Memory* memory;
    const Call* call;
    const Workspace* work;
    Crew* crew;
};
