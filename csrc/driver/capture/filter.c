/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>

#include "driver/attributes.h"
#include "driver/capture/filter.h"

#define CELLS 16

/* A code is a class, and within it sizes and modes, or operations and sources. */
enum part {
    LD = 0,
    LDX = 1,
    ST = 2,
    STX = 3,
    ALU = 4,
    JMP = 5,
    RET = 6,
    MISC = 7,

    W = 0x00, /* loads: size */
    H = 0x08,
    B = 0x10,
    IMM = 0x00, /* loads: mode */
    ABS = 0x20,
    IND = 0x40,
    MEM = 0x60,
    LEN = 0x80,
    MSH = 0xa0,

    ADD = 0x00, /* arithmetic */
    SUB = 0x10,
    MUL = 0x20,
    DIV = 0x30,
    OR = 0x40,
    AND = 0x50,
    LSH = 0x60,
    RSH = 0x70,
    NEG = 0x80,
    MOD = 0x90,
    XOR = 0xa0,
    K = 0x00, /* arithmetic and conditions: source */
    X = 0x08,

    JA = 0x00, /* conditions */
    JEQ = 0x10,
    JGT = 0x20,
    JGE = 0x30,
    JSET = 0x40,

    RETURN_K = 0x00,
    RETURN_A = 0x10,

    TAX = 0x00, /* transfers */
    TXA = 0x80
};

#define CLASS(code) ((code) & 7)

/* ---- checking ---- */

static bool known_load(const struct filter_step *step)
{
    switch (step->code) {
    case LD | W | ABS:
    case LD | H | ABS:
    case LD | B | ABS:
    case LD | W | IND:
    case LD | H | IND:
    case LD | B | IND:
    case LD | W | LEN:
    case LD | IMM:
    case LDX | IMM:
    case LDX | W | LEN:
    case LDX | B | MSH:
        return true;
    case LD | MEM:
    case LDX | MEM:
        return step->k < CELLS;
    default:
        return false;
    }
}

static bool known_alu(const struct filter_step *step)
{
    uint32_t operation = step->code & 0xf0;

    if (step->code & 0xff00)
        return false;
    if (operation == NEG)
        return (step->code & X) == 0;
    if (operation > XOR)
        return false;
    return !(operation == DIV || operation == MOD) || (step->code & X) || step->k;
}

/* `behind`: steps that follow this one. */
static bool known_jump(const struct filter_step *step, uint32_t behind)
{
    switch (step->code) {
    case JMP | JA:
        return step->k < behind;
    case JMP | JEQ | K:
    case JMP | JGT | K:
    case JMP | JGE | K:
    case JMP | JSET | K:
    case JMP | JEQ | X:
    case JMP | JGT | X:
    case JMP | JGE | X:
    case JMP | JSET | X:
        return step->jt < behind && step->jf < behind;
    default:
        return false;
    }
}

static bool known(const struct filter_step *step, uint32_t behind)
{
    switch (CLASS(step->code)) {
    case LD:
    case LDX:
        return known_load(step);
    case ST:
    case STX:
        return step->code == CLASS(step->code) && step->k < CELLS;
    case ALU:
        return known_alu(step);
    case JMP:
        return known_jump(step, behind);
    case RET:
        return step->code == (RET | RETURN_K) || step->code == (RET | RETURN_A);
    default:
        return step->code == (MISC | TAX) || step->code == (MISC | TXA);
    }
}

int filter_check(const struct filter_step *program, uint32_t steps)
{
    if (!steps || steps > FILTER_STEPS_MAX)
        return 0;
    for (uint32_t i = 0; i < steps; i++)
        if (!known(&program[i], steps - 1 - i))
            return (int)i;
    return CLASS(program[steps - 1].code) == RET ? -1 : (int)steps - 1;
}

/* ---- running ---- */

/* Reads `width` bytes, big endian, into *value; false beyond the end of what was captured. */
INLINE bool load(const uint8_t *frame, uint32_t captured, uint64_t at, const uint32_t width,
                 uint32_t *value)
{
    if (unlikely(at + width > captured))
        return false;
    *value = 0;
    for (uint32_t i = 0; i < width; i++)
        *value = *value << 8 | frame[at + i];
    return true;
}

/* false for a division by zero, which ends the program. */
INLINE bool calculate(uint32_t operation, uint32_t *a, uint32_t by)
{
    switch (operation) {
    case ADD:
        *a += by;
        break;
    case SUB:
        *a -= by;
        break;
    case MUL:
        *a *= by;
        break;
    case DIV:
        if (!by)
            return false;
        *a /= by;
        break;
    case MOD:
        if (!by)
            return false;
        *a %= by;
        break;
    case OR:
        *a |= by;
        break;
    case AND:
        *a &= by;
        break;
    case XOR:
        *a ^= by;
        break;
    case LSH:
        *a = by < 32 ? *a << by : 0;
        break;
    case RSH:
        *a = by < 32 ? *a >> by : 0;
        break;
    default: /* NEG */
        *a = 0u - *a;
    }
    return true;
}

uint32_t filter_run(const struct filter_step *program, const uint8_t *frame, uint32_t captured,
                    uint32_t length)
{
    uint32_t a = 0, x = 0, cell[CELLS] = {0};

    for (const struct filter_step *step = program;; step++) {
        uint32_t k = step->k;
        bool good = true;

        switch (step->code) {
        case LD | W | ABS:
            good = load(frame, captured, k, 4, &a);
            break;
        case LD | H | ABS:
            good = load(frame, captured, k, 2, &a);
            break;
        case LD | B | ABS:
            good = load(frame, captured, k, 1, &a);
            break;
        case LD | W | IND:
            good = load(frame, captured, (uint64_t)x + k, 4, &a);
            break;
        case LD | H | IND:
            good = load(frame, captured, (uint64_t)x + k, 2, &a);
            break;
        case LD | B | IND:
            good = load(frame, captured, (uint64_t)x + k, 1, &a);
            break;
        case LDX | B | MSH: /* the length of an IPv4 header */
            good = load(frame, captured, k, 1, &x);
            x = (x & 0xf) << 2;
            break;
        case LD | W | LEN:
            a = length;
            break;
        case LDX | W | LEN:
            x = length;
            break;
        case LD | IMM:
            a = k;
            break;
        case LDX | IMM:
            x = k;
            break;
        case LD | MEM:
            a = cell[k];
            break;
        case LDX | MEM:
            x = cell[k];
            break;
        case ST:
            cell[k] = a;
            break;
        case STX:
            cell[k] = x;
            break;
        case JMP | JA:
            step += k;
            break;
        case JMP | JEQ | K:
            step += a == k ? step->jt : step->jf;
            break;
        case JMP | JGT | K:
            step += a > k ? step->jt : step->jf;
            break;
        case JMP | JGE | K:
            step += a >= k ? step->jt : step->jf;
            break;
        case JMP | JSET | K:
            step += a & k ? step->jt : step->jf;
            break;
        case JMP | JEQ | X:
            step += a == x ? step->jt : step->jf;
            break;
        case JMP | JGT | X:
            step += a > x ? step->jt : step->jf;
            break;
        case JMP | JGE | X:
            step += a >= x ? step->jt : step->jf;
            break;
        case JMP | JSET | X:
            step += a & x ? step->jt : step->jf;
            break;
        case RET | RETURN_K:
            return k;
        case RET | RETURN_A:
            return a;
        case MISC | TAX:
            x = a;
            break;
        case MISC | TXA:
            a = x;
            break;
        default: /* ALU: nothing else passes the check */
            good = calculate(step->code & 0xf0, &a, step->code & X ? x : k);
        }
        if (unlikely(!good))
            return 0;
    }
}
