// Whether this machine has AMX and its system lets this process use it. Emulated, it needs neither.
#pragma once

#if defined(EMULATE_TILES)
inline bool amx_is_granted() { return true; }
#elif defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// Tiles, of bytes and of bfloat16, which the system keeps for a thread.
inline bool amx_is_here() {
    constexpr unsigned KINDS = 1u << 24 | 1u << 25 | 1u << 22;  // of leaf 7
    constexpr unsigned KEPT = 1u << 17 | 1u << 18;              // of XCR0: their shapes, their contents
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & KINDS) != KINDS) return false;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & KEPT) == KEPT;
}

// Linux (from 5.16) keeps the contents only for a process that asks, then for all its threads; it refuses where a thread's
// stack for signals is too small for them (Documentation/arch/x86/xstate.rst).
inline bool amx_is_granted() {
    constexpr long REQUEST = 0x1023, CONTENTS = 18;
    return amx_is_here() && syscall(SYS_arch_prctl, REQUEST, CONTENTS) == 0;
}
#else
inline bool amx_is_granted() { return false; }
#endif
