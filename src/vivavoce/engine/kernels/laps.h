// Where the time of a step goes, in a library that is built with -DWITH_LAPS (bench/parts.py): of the first thread, what
// has passed since the lap before is the time of a part.
#pragma once

enum Lap : int { EMBEDDING, PACKING, PRODUCTS, ATTENTION, WIDE, NARROW, QUANTISER, LAPS };

#ifdef WITH_LAPS
void crew_lap(int part);
static inline void lap(int thread, Lap part) {
    if (thread == 0) crew_lap(part);
}
#else
static inline void lap(int, Lap) {}
#endif
