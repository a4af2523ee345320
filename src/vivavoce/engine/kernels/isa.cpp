// The whole step for one instruction set: compiled once for each row of build.py's table, with ISA its name. Everything
// but that one function is local to this file, so that no code of a newer set is ever linked in place of an older one's.
#include <stddef.h>
#include "crew.h"
#include "model.h"

namespace {
#include "vector.h"
#include "product.h"
#include "rows.h"
#include "attention.h"
#include "part.h"
#include "cross.h"
#include "step.h"
}  // namespace

#define NAME_(isa) vivavoce_step_##isa
#define NAME(isa) NAME_(isa)
void NAME(ISA)(const void* step, int thread) { Stepping(*(const Step*)step, thread).run(); }
