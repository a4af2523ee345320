// The whole steps for one instruction set: compiled once for each row of build.py's table, with ISA its name. Everything
// but these few functions is local to this file, so that no code of a newer set is ever linked in place of an older one's.
#include <stddef.h>
#include "codec.h"
#include "crew.h"
#include "depformer.h"
#include "laps.h"
#include "packing.h"

namespace {
#include "vector.h"
#include "product.h"
#include "rows.h"
#include "attention.h"
#include "part.h"
#include "pack.h"
#include "turning.h"
#include "cross.h"
#include "answer.h"
#include "step.h"
#include "draw.h"
#include "speak.h"
#include "codec_rows.h"
#include "codec_conv.h"
#include "codec_step.h"
#include "codec_quantiser.h"
#include "codec_encoder.h"
#include "codec_decoder.h"
}  // namespace

#define NAME_(what, isa) vivavoce_##what##_##isa
#define NAME(what, isa) NAME_(what, isa)
void NAME(pack, ISA)(const void* task, int thread) { pack_matrix(*(const PackingTask*)task, thread); }
void NAME(step, ISA)(const void* step, int thread) { Stepping(*(const Step*)step, thread).run(); }
void NAME(speak, ISA)(const void* step, int thread) { Speaking(*(const SpeechStep*)step, thread).run(); }
void NAME(encode, ISA)(const void* step, int thread) { Encoding(*(const CodecStep*)step, thread).run(); }
void NAME(decode, ISA)(const void* step, int thread) { Decoding(*(const CodecStep*)step, thread).run(); }
