// What a matrix is packed from, mirrored by structures.py.
#pragma once
#include "model.h"

struct Packing {
    const void* from;  // [rows][columns], FLOAT32 or BFLOAT16
    uint8_t* data;     // as of Matrix, with zeros for what lies beyond rows and columns
    float* scales;
    float* scratch;    // [threads][2][CHANNELS][inputs]
    int32_t from_format, format, rows, columns, outputs, inputs;
};

struct PackingTask {
    const Packing* what;
    int threads;
};
