// What Python calls (library.py): which instruction sets this machine has, packing, and one step.
#include "amx.h"
#include "crew.h"
#include "depformer.h"
#include "packing.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define DECLARE(isa)                           \
    void vivavoce_pack_##isa(const void*, int); \
    void vivavoce_step_##isa(const void*, int); \
    void vivavoce_speak_##isa(const void*, int);
DECLARE(plain)
DECLARE(avx2)
DECLARE(avx_vnni)
DECLARE(avx512)
DECLARE(avx512_bf16)
DECLARE(amx)

namespace {
struct Isa {
    const char* name;
    Task pack, step, speak;
    bool (*here)();
};

bool always() { return true; }
#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx_vnni() {  // which older compilers' __builtin_cpu_supports does not know
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
#if defined(EMULATE_WIDE)
bool has_avx512() { return true; }
bool has_avx512_bf16() { return true; }
#else
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}
bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif
bool has_amx() { return has_avx512_bf16() && amx_is_granted(); }
#endif

const Isa ISAS[] = {  // the best first
#ifdef WITH_amx
    {"amx", vivavoce_pack_amx, vivavoce_step_amx, vivavoce_speak_amx, has_amx},
#endif
#ifdef WITH_avx512_bf16
    {"avx512_bf16", vivavoce_pack_avx512_bf16, vivavoce_step_avx512_bf16, vivavoce_speak_avx512_bf16, has_avx512_bf16},
#endif
#ifdef WITH_avx512
    {"avx512", vivavoce_pack_avx512, vivavoce_step_avx512, vivavoce_speak_avx512, has_avx512},
#endif
#ifdef WITH_avx_vnni
    {"avx_vnni", vivavoce_pack_avx_vnni, vivavoce_step_avx_vnni, vivavoce_speak_avx_vnni, has_avx_vnni},
#endif
#ifdef WITH_avx2
    {"avx2", vivavoce_pack_avx2, vivavoce_step_avx2, vivavoce_speak_avx2, has_avx2},
#endif
    {"plain", vivavoce_pack_plain, vivavoce_step_plain, vivavoce_speak_plain, always},
};
constexpr int KINDS = sizeof ISAS / sizeof *ISAS;

int64_t last_text(int64_t card, bool pairs) { return (pairs ? (card + 1) * (card + 2) : card + 1) - 1; }

bool within(const int64_t* ids, int64_t count, int64_t least, int64_t most) {
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < least || ids[i] > most) return false;
    return true;
}
}  // namespace

#pragma GCC visibility push(default)
extern "C" {
// The name of an instruction set that was compiled, null after the last; `here` says whether this machine runs it.
const char* vivavoce_isa(int index, int32_t* here) {
    if (index >= KINDS) return nullptr;
    *here = ISAS[index].here();
    return ISAS[index].name;
}

// Sizes of the structs, so that a mirror of another shape is found out.
int64_t vivavoce_layout() {
    return ((sizeof(Matrix) * 1000 + sizeof(Layer)) * 1000 + sizeof(Model)) * 1000000000 + (sizeof(Memory) * 1000 + sizeof(Call)) * 1000 + sizeof(Workspace);
}

int64_t vivavoce_speech_layout() { return sizeof(Depformer) * 1000 + sizeof(Speech); }

int64_t vivavoce_packing_layout() { return sizeof(Packing); }

void vivavoce_pack(int isa, Crew* crew, const Packing* what) {
    const PackingTask task = {what, crew_size(crew)};
    crew_run(crew, ISAS[isa].pack, &task);
}

Crew* vivavoce_crew(int threads) { return crew_of(threads); }
void vivavoce_dismiss(Crew* crew) { crew_dismiss(crew); }

// 0, or what is out of bounds: 1 the slots, 2 the text, 3 the codes, 4 the number of frames.
int vivavoce_step(int isa, Crew* crew, const Model* model, const Memory* memory, const Call* call, const Workspace* work) {
    const int64_t rows = (int64_t)call->batch * call->count;
    if (!within(call->slots, call->batch, 0, memory->slots - 1)) return 1;
    if (!within(call->text, rows, -1, last_text(model->text_card, model->pairs))) return 2;
    if (!within(call->codes, rows * model->codebooks, -1, model->card)) return 3;
    if (call->count < 1 || call->count > memory->capacity - model->context + 1) return 4;
    const Step step = {model, memory, call, work, crew};
    crew_run(crew, ISAS[isa].step, &step);
    for (int i = 0; i < call->batch; i++) call->position[call->slots[i]] += call->count;
    return 0;
}

// 0, or what is out of bounds: 1 the number of rows, 2 the text, 3 a further row's stream.
int vivavoce_speak(int isa, Crew* crew, const Depformer* model, const Memory* memory, const Speech* speech, const Workspace* work) {
    if (speech->batch < 1 || speech->rows < speech->batch || speech->rows > memory->slots) return 1;
    if (!within(speech->text, speech->batch, -1, last_text(model->text_card, model->pairs))) return 2;
    if (!within(speech->guided, speech->rows - speech->batch, 0, speech->batch - 1)) return 3;
    const SpeechStep step = {model, memory, speech, work, crew};
    crew_run(crew, ISAS[isa].speak, &step);
    return 0;
}
}
