// What speaks the codes of a step (spec/model.md §2.5), for all its streams in one call:
//
//   for each codebook k, with weights of the set s = schedule[k]:
//     x = project_s heard + (the text's row, then the row of code k - 1);  for each layer: x += out(attend(qkv(norm1 x)))
//     over the codebooks so far, x += outer(silu(gate) * up);  code k = draw(heads_k x), or of a guided stream, whose
//     further row hears no text: draw(away + (logits - away) * strength)
//
// Tables of low rank are widened once, when packed. The bound is reading a set's weights for each codebook, once for all
// streams; only those that fit in the cache stay there from one codebook to the next.
#pragma once
#include "model.h"

struct Depformer {
    const Layer* layers;      // [sets][layer_count]
    const Matrix* heads;      // [codebooks]
    Matrix project;           // outputs [sets][width]
    const void *text;         // [1 or, of pairs, 2][text_card + 1][dim]
    const void *tables;       // [codebooks - 1][card + 1][dim]
    const int32_t* schedule;  // [codebooks]
    int32_t tables_format, layer_count, dim, width, head_count, head_dim, head_width, codebooks, card, text_card, pairs;
};

// Rows are the streams', and then those that guide some of them.
struct Speech {
    const float* heard;      // [rows][project.inputs]
    const int64_t* text;     // [batch]
    const int64_t* guided;   // [rows - batch]: the stream of each further row
    const float* strength;   // [rows - batch]
    const float* temperature;
    const int64_t* last;     // how each stream draws (draw.h)
    const float* top_p;
    const int64_t* keys;     // [batch][key_stride]: of each codebook
    int64_t* codes;          // [batch][codebooks]
    float* projected;        // scratch [rows][sets * width]
    int64_t key_stride;
    int32_t batch, rows;
};

struct SpeechStep {
    const Depformer* model;
    const Memory* memory;  // FLOAT32: a slot for each row, a place for each codebook
    const Speech* speech;
    const Workspace* work;
    Crew* crew;
};
