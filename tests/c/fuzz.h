/* SPDX-License-Identifier: BSD-3-Clause */
/* A fuzzer for harnesses: PROGRAM [SECONDS CRASH-FILE CORPUS-FOLDER], or PROGRAM repeat INPUT. Without arguments it takes the seeds and
 * some thousand mutations, the same each time, as a test. With them it goes on until the time is over, keeps
 * inputs that reach code which none before did (gcc -fsanitize-coverage=trace-pc), and leaves the input at work
 * in CRASH-FILE when the process dies: its size in four bytes, then its bytes (python -m tests.fuzz makes an input
 * of that). The harness has the entry point of libFuzzer. */
#ifndef TESTS_C_FUZZ_H
#define TESTS_C_FUZZ_H

#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FUZZ_LONGEST 2048u
#define FUZZ_KEPT 4096u
#define FUZZ_ROUNDS 5000u
#define FUZZ_EDGES (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);

struct fuzz_input {
    uint32_t size;
    uint8_t data[FUZZ_LONGEST];
};

/* What is left of an input. */
struct reader {
    const uint8_t *data;
    size_t left;
};

/* The next so many bytes, the lowest first; zeros when there are no more. */
static inline uint64_t number(struct reader *from, uint32_t bytes)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < bytes && from->left; i++, from->left--)
        value |= (uint64_t)*from->data++ << 8 * i;
    return value;
}

static struct fuzz_input *fuzz_kept[FUZZ_KEPT];
static uint32_t fuzz_count;
static uint8_t fuzz_seen[FUZZ_EDGES];
static uint32_t fuzz_edges, fuzz_new;
static uint64_t fuzz_state = 0x9e3779b97f4a7c15ull;

__attribute__((no_sanitize_coverage, no_sanitize("address", "undefined"))) void
__sanitizer_cov_trace_pc(void)
{
    uint64_t at = (uint64_t)__builtin_return_address(0);
    uint32_t edge = (uint32_t)((at ^ at >> 15) & (FUZZ_EDGES - 1));

    if (!fuzz_seen[edge]) {
        fuzz_seen[edge] = 1;
        fuzz_edges++;
        fuzz_new = 1;
    }
}

static inline uint32_t fuzz_random(uint32_t below)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return below ? (uint32_t)(fuzz_state >> 32) % below : 0;
}

static inline void fuzz_keep(const uint8_t *data, size_t size)
{
    struct fuzz_input *input;

    if (fuzz_count == FUZZ_KEPT || size > FUZZ_LONGEST)
        return;
    input = calloc(1, sizeof(*input));
    assert(input);
    memcpy(input->data, data, size);
    input->size = (uint32_t)size;
    fuzz_kept[fuzz_count++] = input;
}

/* A seed in hexadecimal digits. */
static inline void fuzz_keep_hex(const char *text)
{
    uint8_t data[FUZZ_LONGEST];
    uint32_t size = 0, byte;

    for (; size < FUZZ_LONGEST && sscanf(text, "%2x", &byte) == 1; text += 2)
        data[size++] = (uint8_t)byte;
    fuzz_keep(data, size);
}

static inline void fuzz_change(struct fuzz_input *input)
{
    static const uint8_t edges[] = {0, 1, 2, 0x3f, 0x40, 0x7f, 0x80, 0xff};
    uint32_t at = fuzz_random(FUZZ_LONGEST), n = 1 + fuzz_random(8);
    const struct fuzz_input *other = fuzz_kept[fuzz_random(fuzz_count)];

    if (input->size)
        at %= input->size;
    else
        at = 0;
    switch (fuzz_random(6)) {
    case 0:
        input->data[at] ^= (uint8_t)(1u << fuzz_random(8));
        break;
    case 1:
        input->data[at] = (uint8_t)fuzz_random(256);
        break;
    case 2:
        input->data[at] = edges[fuzz_random(sizeof(edges))];
        break;
    case 3: /* longer, by the bytes that stand there */
        if (input->size + n <= FUZZ_LONGEST) {
            memmove(input->data + at + n, input->data + at, input->size - at);
            input->size += n;
        }
        break;
    case 4:
        if (input->size > at + n) {
            memmove(input->data + at, input->data + at + n, input->size - at - n);
            input->size -= n;
        }
        break;
    default: /* goes on as another one does */
        if (other->size > at) {
            memcpy(input->data + at, other->data + at, other->size - at);
            input->size = other->size;
        }
    }
    if (!input->size)
        input->size = 1;
}

static inline void fuzz_load_file(const char *path)
{
    uint8_t data[FUZZ_LONGEST];
    int fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, data, sizeof(data));

    if (fd >= 0)
        close(fd);
    if (size > 0)
        fuzz_keep(data, (size_t)size);
}

static inline void fuzz_load(const char *folder)
{
    DIR *open = opendir(folder);
    struct dirent *entry;
    char path[4096];

    while (open && (entry = readdir(open))) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        fuzz_load_file(path);
    }
    if (open)
        closedir(open);
}

/* The input at work, in memory of exactly its size, so that a read behind it is seen. */
static inline void fuzz_feed(const struct fuzz_input *input, struct fuzz_input *shared)
{
    uint8_t *exact = malloc(input->size ? input->size : 1);

    assert(exact);
    if (shared)
        memcpy(shared, input, sizeof(*input));
    memcpy(exact, input->data, input->size);
    LLVMFuzzerTestOneInput(exact, input->size);
    free(exact);
}

static inline struct fuzz_input *fuzz_shared(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    void *memory;

    assert(fd >= 0 && ftruncate(fd, sizeof(struct fuzz_input)) == 0);
    memory = mmap(NULL, sizeof(struct fuzz_input), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert(memory != MAP_FAILED);
    close(fd);
    return memory;
}

static inline double fuzz_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* One input of a file, and nothing else. */
static inline int fuzz_repeat(const char *path)
{
    while (fuzz_count)
        free(fuzz_kept[--fuzz_count]);
    fuzz_load_file(path);
    if (!fuzz_count) {
        fprintf(stderr, "%s cannot be read\n", path);
        return 2;
    }
    fuzz_feed(fuzz_kept[0], NULL);
    free(fuzz_kept[0]);
    puts("nothing found");
    return 0;
}

static inline int fuzz_main(int argc, char **argv)
{
    double end = argc > 1 ? fuzz_now() + atof(argv[1]) : 0;
    struct fuzz_input *shared = NULL;
    uint64_t executions = 0;

    if (argc == 3 && !strcmp(argv[1], "repeat"))
        return fuzz_repeat(argv[2]);
    if (argc > 2)
        shared = fuzz_shared(argv[2]);
    if (argc > 3)
        fuzz_load(argv[3]);
    assert(fuzz_count);
    for (uint32_t i = 0; i < fuzz_count; i++, executions++)
        fuzz_feed(fuzz_kept[i], shared);
    while (argc > 1 ? executions % 64 || fuzz_now() < end : executions < FUZZ_ROUNDS) {
        struct fuzz_input input = *fuzz_kept[fuzz_random(fuzz_count)];

        for (uint32_t n = 1 + fuzz_random(4); n; n--)
            fuzz_change(&input);
        fuzz_new = 0;
        fuzz_feed(&input, shared);
        executions++;
        if (fuzz_new)
            fuzz_keep(input.data, input.size);
    }
    if (argc > 2)
        unlink(argv[2]);
    printf("executions %llu, edges %u, kept %u\n", (unsigned long long)executions, fuzz_edges,
           fuzz_count);
    for (uint32_t i = 0; i < fuzz_count; i++)
        free(fuzz_kept[i]);
    return 0;
}

#endif
