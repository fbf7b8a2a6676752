/* SPDX-License-Identifier: BSD-3-Clause */
/* Which instruction sets of x86-64 a process may use here: the CPU has them, and the system keeps their
 * registers. Not __builtin_cpu_supports: it asks a library of the compiler, and that of some compilers
 * knows no instruction set at all. */
#ifndef IAVFIO_HW_X86_H
#define IAVFIO_HW_X86_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

#define XCR0_AVX 0x06u /* XMM and upper halves of YMM */
#define XCR0_AVX512 0xe0u /* mask registers, ZMM */

#define LEAF1_ECX (bit_OSXSAVE | bit_AVX | bit_POPCNT)
#define LEAF7_EBX_AVX2 (bit_AVX2 | bit_BMI | bit_BMI2)
#define LEAF7_EBX_AVX512 (bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)
#define LEAF7_ECX_VBMI 0x02u /* compilers name this bit differently */
#define EXTENDED1_ECX_LZCNT 0x20u

struct x86 {
    bool avx2; /* with BMI, BMI2, LZCNT, POPCNT */
    bool avx512; /* F, BW, DQ and VL, over what avx2 means */
    bool vbmi; /* over avx512 */
};

static inline uint32_t x86_xcr0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static inline struct x86 x86_features(void)
{
    struct x86 found = {0};
    uint32_t a, ebx, ecx, d, b, xcr0;

    if (!__get_cpuid(1, &a, &b, &ecx, &d) || (ecx & LEAF1_ECX) != LEAF1_ECX)
        return found;
    if (!__get_cpuid(0x80000001, &a, &b, &ecx, &d) || !(ecx & EXTENDED1_ECX_LZCNT))
        return found;
    if (!__get_cpuid_count(7, 0, &a, &ebx, &ecx, &d))
        return found;
    xcr0 = x86_xcr0();
    found.avx2 = (xcr0 & XCR0_AVX) == XCR0_AVX && (ebx & LEAF7_EBX_AVX2) == LEAF7_EBX_AVX2;
    found.avx512 = found.avx2 && (xcr0 & XCR0_AVX512) == XCR0_AVX512 &&
                   (ebx & LEAF7_EBX_AVX512) == LEAF7_EBX_AVX512;
    found.vbmi = found.avx512 && (ecx & LEAF7_ECX_VBMI);
    return found;
}

#endif
