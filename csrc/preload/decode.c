/* SPDX-License-Identifier: BSD-3-Clause */
/* Which memory access an instruction makes: the moves that compilers emit for registers of a device. */
#include <string.h>

#include "preload/preload.h"

#if defined(__x86_64__)

/* Bytes of ModRM, SIB and displacement at `at`. */
static unsigned modrm_length(const uint8_t *at)
{
    uint8_t mod = (uint8_t)(at[0] >> 6);
    uint8_t rm = at[0] & 7;
    unsigned length = 1;

    if (mod == 3)
        return 1;
    if (rm == 4) {
        length++;
        if (mod == 0 && (at[1] & 7) == 5)
            return length + 4;
    }
    if (mod == 1)
        return length + 1;
    if (mod == 2 || (mod == 0 && rm == 5))
        return length + 4;
    return length;
}

static uint64_t immediate(const uint8_t *at, unsigned bytes)
{
    int8_t i8;
    int16_t i16;
    int32_t i32;

    switch (bytes) {
    case 1:
        memcpy(&i8, at, 1);
        return (uint64_t)(int64_t)i8;
    case 2:
        memcpy(&i16, at, 2);
        return (uint64_t)(int64_t)i16;
    default:
        memcpy(&i32, at, 4);
        return (uint64_t)(int64_t)i32;
    }
}

static bool extended(const uint8_t *code, unsigned at, uint8_t word, struct access *access,
                     uint8_t *modrm_at)
{
    switch (code[at]) {
    case 0xb6: /* movzx, movsx from a byte and from a word */
    case 0xb7:
    case 0xbe:
    case 0xbf:
        access->load = true;
        access->bytes = code[at] & 1 ? 2 : 1;
        access->sign = code[at] >= 0xbe;
        access->reg_bytes = word;
        *modrm_at = (uint8_t)(at + 1);
        return true;
    case 0x38:
        if (code[at + 1] != 0xf9) /* movdiri: a store past the caches, which DPDK uses for tails */
            return false;
        access->store = true;
        access->bytes = word == 8 ? 8 : 4;
        *modrm_at = (uint8_t)(at + 2);
        return true;
    default:
        return false;
    }
}

bool decode_access(const uint8_t *code, struct access *access)
{
    unsigned at = 0;
    bool narrow = false;
    uint8_t rex = 0;
    uint8_t word;
    uint8_t modrm_at;
    uint8_t op;
    unsigned tail = 0;

    memset(access, 0, sizeof(*access));
    for (; at < 4; at++) { /* operand size, segments, lock: xchg locks anyway */
        if (code[at] == 0x66)
            narrow = true;
        else if (code[at] != 0xf0 && code[at] != 0x2e && code[at] != 0x3e && code[at] != 0x26 &&
                 code[at] != 0x36)
            break;
    }
    if ((code[at] & 0xf0) == 0x40)
        rex = code[at++];
    word = rex & 8 ? 8 : narrow ? 2 : 4;
    op = code[at++];
    modrm_at = (uint8_t)at;
    switch (op) {
    case 0x8b:
    case 0x8a:
        access->load = true;
        access->bytes = access->reg_bytes = op & 1 ? word : 1;
        break;
    case 0x63: /* movsxd */
        access->load = access->sign = true;
        access->bytes = 4;
        access->reg_bytes = word;
        break;
    case 0x89:
    case 0x88:
        access->store = true;
        access->bytes = op & 1 ? word : 1;
        break;
    case 0x87: /* xchg: what a sequentially consistent store compiles to */
    case 0x86:
        access->load = access->store = true;
        access->bytes = access->reg_bytes = op & 1 ? word : 1;
        break;
    case 0xc7:
    case 0xc6:
        access->store = true;
        access->bytes = op & 1 ? word : 1;
        access->reg = -1;
        tail = op == 0xc6 ? 1 : word == 2 ? 2 : 4;
        break;
    case 0x0f:
        if (!extended(code, at, word, access, &modrm_at))
            return false;
        break;
    default:
        return false;
    }
    if (code[modrm_at] >> 6 == 3) /* no memory operand: this is not what faulted */
        return false;
    at = modrm_at + modrm_length(code + modrm_at);
    if (access->reg == -1) {
        if ((code[modrm_at] >> 3 & 7) != 0)
            return false;
        access->immediate = immediate(code + at, tail);
    } else {
        bool byte_reg = op == 0x8a || op == 0x88 || op == 0x86;

        access->reg = (code[modrm_at] >> 3 & 7) | (rex & 4 ? 8 : 0);
        if (byte_reg && !rex && access->reg >= 4) {
            access->high = true;
            access->reg -= 4;
        }
    }
    access->length = (uint8_t)(at + tail);
    return true;
}

#else

/* Only x86-64 is decoded: elsewhere a program gets at pages that the server lets it map, and by pread. */
bool decode_access(const uint8_t *code, struct access *access)
{
    (void)code;
    memset(access, 0, sizeof(*access));
    return false;
}

#endif
