// What Python calls for the codec (codec_library.py).
#include "codec.h"
#include "crew.h"

#define DECLARE(isa)                                 \
    void vivavoce_encode_##isa(const void*, int); \
    void vivavoce_decode_##isa(const void*, int);
DECLARE(plain)
DECLARE(avx2)
DECLARE(avx_vnni)
DECLARE(avx512)
DECLARE(avx512_bf16)
DECLARE(amx)

namespace {
struct Tasks {
    Task encode, decode;
};
const Tasks TASKS[] = {  // in the order of abi.cpp
#ifdef WITH_amx
    {vivavoce_encode_amx, vivavoce_decode_amx},
#endif
#ifdef WITH_avx512_bf16
    {vivavoce_encode_avx512_bf16, vivavoce_decode_avx512_bf16},
#endif
#ifdef WITH_avx512
    {vivavoce_encode_avx512, vivavoce_decode_avx512},
#endif
#ifdef WITH_avx_vnni
    {vivavoce_encode_avx_vnni, vivavoce_decode_avx_vnni},
#endif
#ifdef WITH_avx2
    {vivavoce_encode_avx2, vivavoce_decode_avx2},
#endif
    {vivavoce_encode_plain, vivavoce_decode_plain},
};

// 0, or what is out of bounds: 1 a slot, 2 the number of frames, 3 the number of codebooks, 4 a code.
int problem_of(const CodecTransformer& transformer, int codebooks, const Memory& ring, const CodecCall& call) {
    for (int i = 0; i < call.batch; i++)
        if (call.slots[i] < 0 || call.slots[i] >= ring.slots) return 1;
    if (call.count < 1 || 2 * call.count > ring.capacity - transformer.context + 1) return 2;
    if (call.codebooks < 0 || call.codebooks > codebooks) return 3;
    return 0;
}

void move_on(const CodecCall& call) {
    for (int i = 0; i < call.batch; i++) call.position[call.slots[i]] += 2 * call.count;
}
}  // namespace

#pragma GCC visibility push(default)
extern "C" {
// Sizes of the structs, so that a mirror of another shape is found out.
int64_t vivavoce_codec_layout() {
    return (((int64_t)sizeof(Conv) * 1000 + sizeof(CodecLayer)) * 1000 + sizeof(CodecTransformer)) * 1000000000 +
           ((int64_t)sizeof(Book) + sizeof(Encoder) + sizeof(Decoder)) * 1000000 + sizeof(CodecCall) * 1000 + sizeof(CodecWorkspace);
}

// Audio to codes.
int vivavoce_encode(int isa, Crew* crew, const Encoder* encoder, const Memory* ring, const CodecCall* call, const CodecWorkspace* work) {
    const int problem = problem_of(encoder->transformer, encoder->quantiser.codebooks, *ring, *call);
    if (problem) return problem;
    const CodecStep step = {encoder, nullptr, ring, call, work, crew};
    crew_run(crew, TASKS[isa].encode, &step);
    move_on(*call);
    return 0;
}

// Codes to audio.
int vivavoce_decode(int isa, Crew* crew, const Decoder* decoder, const Memory* ring, const CodecCall* call, const CodecWorkspace* work) {
    const int problem = problem_of(decoder->transformer, decoder->codebooks, *ring, *call);
    if (problem) return problem;
    for (int64_t i = 0; i < (int64_t)call->batch * call->count * call->codebooks; i++)
        if (call->codes[i] < 0 || call->codes[i] >= decoder->bins) return 4;
    const CodecStep step = {nullptr, decoder, ring, call, work, crew};
    crew_run(crew, TASKS[isa].decode, &step);
    move_on(*call);
    return 0;
}
}
