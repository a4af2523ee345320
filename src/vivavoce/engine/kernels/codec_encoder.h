// Mimi's encoder for every stream that has frames: audio to codes (sizes: codec.h).
//
//   x = first(audio);  for each stage: x += widen(elu(narrow(elu x))), x = down(elu x);  x = last(elu x)
//   x = transformer(x);  latent = downsample(x);  codes = quantise(latent)
//
// Up to the last `down` a stream is one thread's, and the streams that are left over the crew's; from there on all rows go
// together. The floor is 0.47 GFLOP a frame of the released model, and reading its 56 M weights once.
#pragma once

struct Encoding {
    const Encoder& encoder;
    const CodecStepping step;
    const Conv &last, &downsample;

    Encoding(const CodecStep& s, int thread)
        : encoder(*s.encoder), step(s, s.encoder->transformer, thread), last(encoder.convs[3 * encoder.stages + 1]),
          downsample(encoder.convs[3 * encoder.stages + 2]) {}

    // One frame of a stream up to the inputs of the last `down`, packed as its rows.
    void hear(const Team& team, const Lane& lane, int stream, int frame) const {
        const Conv *stage = encoder.convs + 1, *into = encoder.convs;
        float* tails = step.tails_of(stream);
        Fed fed = {lane.wide};
        const int index = stream * step.call.count + frame;
        if (team.thread == 0) {
            begin_with_tail(*into, tails, lane.wide);
            __builtin_memcpy(lane.wide + into->kept, step.call.audio + (int64_t)index * encoder.frame_size,
                             (size_t)encoder.frame_size * 4);
            keep_tail(*into, lane.wide, into->rows, tails);
        }
        for (int i = 0; i < encoder.stages; i++, stage += 3) {
            begin_behind_tail(team, stage[0], lane, lane.loud, tails);
            team.wait();
            into_block(team, *into, fed, stage[0], lane);
            into = &stage[2];
            fed = residual(team, stage, *into, lane, tails);
        }
        const Range my = team.mine(into->rows);
        for (int row = my.from; row < my.to; row++)
            step.put_row(into->w, lane.wide + (int64_t)row * into->step, into->kept + into->step, index * into->rows + row);
        team.wait();
    }

    void hear_all() const {
        share_streams(step.team, step.call.batch, step.call.count, step.scratch,
                      [this](const Team& team, const Lane& lane, int stream, int frame) { hear(team, lane, stream, frame); });
    }

    void narrow() const {
        const Conv& down = encoder.convs[3 * encoder.stages];
        step.begin_joined(last);
        step.convolve_rows(down, step.rows_of(down.w), [&](int stream, int64_t at, Floats v, int count) {
            store_some(step.joined_of(stream) + last.kept + at, elu(v), count);
        });
        float* hidden = step.work.hidden;
        const int each = step.call.count * last.rows, dim = step.dim, width = step.width;
        step.convolve_rows(last, step.windows(last), [=](int stream, int64_t at, Floats v, int count) {
            store_some(hidden + ((int64_t)stream * each + at / dim) * width + at % dim, v, count);
        });
    }

    // Pairs of positions to frames; a stream's first one is also its past.
    Inputs pairs() const {
        const int each = 2 * step.call.count, dim = step.dim;
        const Range my = step.mine(step.call.batch);
        for (int stream = my.from; stream < my.to; stream++) {
            const int64_t slot = step.call.slots[stream];
            const float* from = step.work.hidden + (int64_t)stream * each * step.width;
            float* to = step.joined_of(stream);
            begin_with_tail(downsample, step.tails_of(stream), to);
            if (step.call.position[slot] == step.call.oldest[slot])
                for (int i = 0; i < downsample.kept; i += dim) __builtin_memcpy(to + i, from, (size_t)dim * 4);
            for (int i = 0; i < each; i++)
                __builtin_memcpy(to + downsample.kept + (int64_t)i * dim, from + (int64_t)i * step.width, (size_t)dim * 4);
        }
        step.wait();
        return step.windows(downsample);
    }

    void run() const {
        hear_all();
        lap(step.thread, WIDE);
        narrow();
        step.transform();
        const int dim = step.dim, width = step.width;
        float* latents = step.work.attended;
        step.convolve_rows(downsample, pairs(), [=](int stream, int64_t at, Floats v, int count) {
            store_some(latents + ((int64_t)stream * step.call.count + at / dim) * width + at % dim, v, count);
        });
        const Matrix& project = encoder.quantiser.project;
        quantise(step, encoder.quantiser, step.put_frames(latents, width, project));
    }
};
