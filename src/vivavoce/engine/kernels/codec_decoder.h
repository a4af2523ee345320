// Mimi's decoder for every stream that has frames: codes to audio (sizes: codec.h).
//
//   x = upsample(project(sum of the entries));  x = transformer(x);  x = first(x)
//   for each stage: x = up(elu x), x += widen(elu(narrow(elu x)));  audio = last(elu x)
//
// A transposed convolution whose kernel is two strides is one of two inputs and `stride` moments of results: the same
// product as the others. Up to the first `up` all rows go together; behind it a stream is one thread's (codec_conv.h).
#pragma once

struct Decoding {
    const Decoder& decoder;
    const CodecStepping step;
    const Conv &first, &up;

    Decoding(const CodecStep& s, int thread)
        : decoder(*s.decoder), step(s, s.decoder->transformer, thread), first(decoder.convs[0]), up(decoder.convs[1]) {}

    // Sums of the entries, those of the semantic half and those of the acoustic one, as inputs of `project`.
    Inputs sums() const {
        const int width = decoder.width, count = step.call.codebooks;
        const Range my = step.mine(step.framewise.rows);
        for (int row = my.from; row < my.to; row++) {
            const int64_t* codes = step.call.codes + (int64_t)row * count;
            float* total = step.work.wide + (int64_t)row * step.work.widest;
            for (int i = 0; i < 2 * width; i++) total[i] = 0;
            for (int q = 0; q < count; q++) add_row(decoder.entries[q], FLOAT32, codes[q], width, total + (q > 0) * width);
            step.put_row(decoder.project, total, 2 * width, row);
        }
        step.wait();
        return step.rows_of(decoder.project);
    }

    // Latents of frames to two positions each, the first half of a kernel for the frame itself, the second for the one before.
    void upsample(const float* latents) const {
        const int dim = step.dim, width = step.width, count = step.call.count;
        const Range my = step.mine(step.call.batch);
        for (int stream = my.from; stream < my.to; stream++) {
            float* before = step.tails_of(stream) + decoder.upsample_tail;
            for (int frame = 0; frame < count; frame++) {
                const int64_t index = (int64_t)stream * count + frame;
                const float* x = latents + index * width;
                for (int j = 0; j < 2; j++) {
                    const float *now = decoder.upsample + j * width, *later = decoder.upsample + (2 + j) * width;
                    float* to = step.work.hidden + (2 * index + j) * width;
                    for (int i = 0; i < dim; i++) to[i] = now[i] * x[i] + later[i] * before[i];
                }
                __builtin_memcpy(before, x, (size_t)dim * 4);
            }
        }
        step.wait();
    }

    // The first convolution and the first `up`, whose results are left in the joined buffers.
    void wide() const {
        const int each = 2 * step.call.count, dim = step.dim;
        const Range my = step.mine(step.call.batch);
        step.begin_joined(first);
        for (int stream = my.from; stream < my.to; stream++)
            for (int i = 0; i < each; i++)
                __builtin_memcpy(step.joined_of(stream) + first.kept + (int64_t)i * dim,
                                 step.work.hidden + ((int64_t)stream * each + i) * step.width, (size_t)dim * 4);
        step.wait();
        const Inputs x = step.windows(first);
        step.begin_joined(up);
        step.convolve_rows(first, x, [&](int stream, int64_t at, Floats v, int count) {
            store_some(step.joined_of(stream) + up.kept + at, elu(v), count);
        });
        step.convolve_rows(up, step.windows(up), [&](int stream, int64_t at, Floats v, int count) {
            store_some(step.joined_of(stream) + at, v, count);
        });
    }

    void say(const Team& team, const Lane& lane, int stream, int frame) const {
        const Conv* stage = decoder.convs + 2;  // narrow, widen, and what comes after them
        float* tails = step.tails_of(stream);
        Fed fed;
        const int64_t numbers = (int64_t)up.rows * up.width;
        if (team.thread == 0) {
            const float* x = step.joined_of(stream) + frame * numbers;
            begin_with_tail(stage[0], tails, lane.loud);
            const Window loud = window_of(stage[0], lane.loud);
            for (int64_t i = 0; i < numbers; i += LANES) {
                const int left = numbers - i < LANES ? (int)(numbers - i) : LANES;
                const Floats v = load<Floats>(x + i);
                store_some(lane.x + i, v, left);
                loud.put(stage[0].kept + i, elu(v), left);
            }
        }
        team.wait();
        for (int i = 0;; stage += 3) {
            fed = residual(team, stage, stage[2], lane, tails);
            if (++i == decoder.stages) break;
            if (team.thread == 0) begin_with_tail(stage[3], tails, lane.loud);
            team.wait();
            into_block(team, stage[2], fed, stage[3], lane);
        }
        float* audio = step.call.audio + ((int64_t)stream * step.call.count + frame) * decoder.frame_size;
        convolve(team, stage[2], fed, [=](int64_t at, Floats v, int count) { store_some(audio + at, v, count); });
    }

    void run() const {
        float* latents = step.work.attended;
        step.framewise.store_into(latents, step.width, decoder.project, sums());
        upsample(latents);
        step.transform();
        wide();
        share_streams(step.team, step.call.batch, step.call.count, step.scratch,
                      [this](const Team& team, const Lane& lane, int stream, int frame) { say(team, lane, stream, frame); });
    }
};
