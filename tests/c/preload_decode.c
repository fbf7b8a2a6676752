/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions as compilers emit them for a device's registers, bytes by hand from the processor's manual. */
#include <stdio.h>
#include <string.h>

#include "preload/preload.h"

#if defined(__x86_64__)

struct example {
    const char *text;
    uint8_t code[12];
    struct access wanted;
};

#define LOAD(n, size, width, number)                                                               \
    {.length = n, .bytes = size, .reg_bytes = width, .reg = number, .load = true}
#define STORE(n, size, number) {.length = n, .bytes = size, .reg = number, .store = true}
#define STORE_VALUE(n, size, value)                                                                \
    {.length = n, .bytes = size, .reg = -1, .store = true, .immediate = value}

static const struct example understood[] = {
    {"mov eax, [rdi]", {0x8b, 0x07}, LOAD(2, 4, 4, 0)},
    {"mov r9d, [r8+0x8800]", {0x45, 0x8b, 0x88, 0, 0x88, 0, 0}, LOAD(7, 4, 4, 9)},
    {"mov rcx, [rax+rbx*4+8]", {0x48, 0x8b, 0x4c, 0x98, 8}, LOAD(5, 8, 8, 1)},
    {"mov dx, [rip+0x10]", {0x66, 0x8b, 0x15, 0x10, 0, 0, 0}, LOAD(7, 2, 2, 2)},
    {"mov al, [rsi]", {0x8a, 0x06}, LOAD(2, 1, 1, 0)},
    {"mov sil, [rdi]", {0x40, 0x8a, 0x37}, LOAD(3, 1, 1, 6)},
    {"mov ah, [rdi]",
     {0x8a, 0x27},
     {.length = 2, .bytes = 1, .reg_bytes = 1, .reg = 0, .load = true, .high = true}},
    {"movzx eax, byte [rdi]", {0x0f, 0xb6, 0x07}, LOAD(3, 1, 4, 0)},
    {"movzx eax, word [rdi]", {0x0f, 0xb7, 0x07}, LOAD(3, 2, 4, 0)},
    {"movsx rax, word [rdi]",
     {0x48, 0x0f, 0xbf, 0x07},
     {.length = 4, .bytes = 2, .reg_bytes = 8, .reg = 0, .load = true, .sign = true}},
    {"movsxd rax, [rdi]",
     {0x48, 0x63, 0x07},
     {.length = 3, .bytes = 4, .reg_bytes = 8, .reg = 0, .load = true, .sign = true}},
    {"mov [rdi], esi", {0x89, 0x37}, STORE(2, 4, 6)},
    {"mov [rdi+0x5c00], r15", {0x4c, 0x89, 0xbf, 0, 0x5c, 0, 0}, STORE(7, 8, 15)},
    {"mov [rbp-8], cx", {0x66, 0x89, 0x4d, 0xf8}, STORE(4, 2, 1)},
    {"mov [rdi], r12b", {0x44, 0x88, 0x27}, STORE(3, 1, 12)},
    {"mov dword [rdi+4], 0x80000020",
     {0xc7, 0x47, 4, 0x20, 0, 0, 0x80},
     STORE_VALUE(7, 4, 0xffffffff80000020ull)},
    {"mov qword [rdi], -1",
     {0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff},
     STORE_VALUE(7, 8, UINT64_MAX)},
    {"mov word [rdi], 0x1234", {0x66, 0xc7, 0x07, 0x34, 0x12}, STORE_VALUE(5, 2, 0x1234)},
    {"mov byte [0x1000], 3", {0xc6, 0x04, 0x25, 0, 0x10, 0, 0, 3}, STORE_VALUE(8, 1, 3)},
    {"xchg [rdi], eax",
     {0x87, 0x07},
     {.length = 2, .bytes = 4, .reg_bytes = 4, .reg = 0, .load = true, .store = true}},
    {"movdiri [rdi], eax", {0x0f, 0x38, 0xf9, 0x07}, STORE(4, 4, 0)},
    {"movdiri [rdi], rdx", {0x48, 0x0f, 0x38, 0xf9, 0x17}, STORE(5, 8, 2)},
};

static const struct example refused[] = {
    {"add [rdi], eax", {0x01, 0x07}, {0}},
    {"test dword [rdi], 1", {0xf7, 0x07, 1, 0, 0, 0}, {0}},
    {"movups xmm0, [rdi]", {0x0f, 0x10, 0x07}, {0}},
    {"rep movsb", {0xf3, 0xa4}, {0}},
    {"mov eax, edi", {0x89, 0xf8}, {0}},
    {"xabort", {0xc6, 0xf8, 0}, {0}},
    {"push [rdi]", {0xff, 0x37}, {0}},
};

static int differs(const struct example *example)
{
    const struct access *wanted = &example->wanted;
    struct access got;

    if (!decode_access(example->code, &got))
        return 1;
    return got.length != wanted->length || got.bytes != wanted->bytes ||
           got.reg_bytes != wanted->reg_bytes || got.reg != wanted->reg ||
           got.load != wanted->load || got.store != wanted->store || got.sign != wanted->sign ||
           got.high != wanted->high || (got.reg < 0 && got.immediate != wanted->immediate);
}

int main(void)
{
    int failed = 0;

    for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++) {
        if (differs(&understood[i])) {
            printf("not understood: %s\n", understood[i].text);
            failed = 1;
        }
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct access got;

        if (decode_access(refused[i].code, &got)) {
            printf("not refused: %s\n", refused[i].text);
            failed = 1;
        }
    }
    return failed;
}

#else

int main(void)
{
    return 77; /* skipped: only x86-64 is decoded */
}

#endif
