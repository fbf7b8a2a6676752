/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages of a BAR that nobody can map: a load or store faults, is decoded and becomes a message. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "hw/page.h"
#include "preload/preload.h"
#include "preload/real.h"

#define MAX_RANGES 128

/* A range is live while `start` is set: it is set last and cleared first, so that the handler, which
 * takes no lock, never sees half of one. */
static struct {
    uint64_t start;
    uint64_t size;
    uint64_t offset;
    struct slot *slot;
    uint32_t region;
    int prot;
} ranges[MAX_RANGES];
static unsigned live;
static pthread_mutex_t ranges_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction program; /* what the program wants done with SIGSEGV */
static int (*next_sigaction)(int, const struct sigaction *, struct sigaction *);

static void publish(int i, struct slot *slot, uint32_t region, uint64_t offset, uint64_t start,
                    uint64_t size, int prot)
{
    ranges[i].slot = slot;
    ranges[i].region = region;
    ranges[i].offset = offset;
    ranges[i].size = size;
    ranges[i].prot = prot;
    __atomic_store_n(&ranges[i].start, start, __ATOMIC_RELEASE);
    __atomic_fetch_add(&live, 1, __ATOMIC_RELEASE);
}

static int free_range(void)
{
    for (int i = 0; i < MAX_RANGES; i++)
        if (!ranges[i].start)
            return i;
    return -ENOMEM;
}

int trap_add(struct slot *slot, uint32_t region, uint64_t offset, void *address, size_t length,
             int prot)
{
    int i;

    pthread_mutex_lock(&ranges_lock);
    i = free_range();
    if (i >= 0)
        publish(i, slot, region, offset, (uint64_t)(uintptr_t)address, length, prot);
    pthread_mutex_unlock(&ranges_lock);
    return i < 0 ? i : 0;
}

/* Takes [address, +size) out of all ranges: the program unmapped it, or mapped something else there. */
void trap_remove(uint64_t address, uint64_t size)
{
    uint64_t end = address + size;

    if (!__atomic_load_n(&live, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&ranges_lock);
    for (int i = 0; i < MAX_RANGES; i++) {
        uint64_t start = ranges[i].start;
        uint64_t stop = start + ranges[i].size;

        if (!start || stop <= address || start >= end)
            continue;
        __atomic_store_n(&ranges[i].start, 0, __ATOMIC_RELEASE);
        __atomic_fetch_sub(&live, 1, __ATOMIC_RELEASE);
        if (stop > end) {
            int tail = free_range();

            if (tail >= 0)
                publish(tail, ranges[i].slot, ranges[i].region, ranges[i].offset + (end - start),
                        end, stop - end, ranges[i].prot);
        }
        if (start < address) {
            int head = free_range();

            if (head >= 0)
                publish(head, ranges[i].slot, ranges[i].region, ranges[i].offset, start,
                        address - start, ranges[i].prot);
        }
    }
    pthread_mutex_unlock(&ranges_lock);
}

bool trap_covers(uint64_t address, uint64_t size)
{
    for (int i = 0; i < MAX_RANGES; i++) {
        uint64_t start = __atomic_load_n(&ranges[i].start, __ATOMIC_ACQUIRE);

        if (start && start < address + size && address < start + ranges[i].size)
            return true;
    }
    return false;
}

/* In a forked child: the parent's registers read as ones. */
void trap_orphan(void)
{
    static struct slot nobody = {.bdf = "(parent's)"};

    pthread_mutex_init(&ranges_lock, NULL);
    pthread_rwlock_init(&nobody.lock, NULL);
    for (int i = 0; i < MAX_RANGES; i++)
        ranges[i].slot = &nobody;
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};

    if (program.sa_flags & SA_SIGINFO) {
        program.sa_sigaction(signal, info, context);
    } else if (program.sa_handler != SIG_DFL && program.sa_handler != SIG_IGN) {
        program.sa_handler(signal);
    } else {
        next_sigaction(SIGSEGV, &standard, NULL); /* the access repeats on return and kills */
        if (info->si_code <= 0) /* sent, not a fault: it does not come again by itself */
            syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
    }
}

#if defined(__x86_64__)

static greg_t *register_of(ucontext_t *context, int number)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};

    return &context->uc_mcontext.gregs[order[number]];
}

static uint64_t value_to_store(ucontext_t *context, const struct access *access)
{
    if (access->reg < 0)
        return access->immediate;
    return (uint64_t)*register_of(context, access->reg) >> (access->high ? 8 : 0);
}

static void put_loaded(ucontext_t *context, const struct access *access, uint64_t value)
{
    greg_t *reg = register_of(context, access->reg);
    unsigned shift = access->high ? 8 : 0;
    uint64_t mask;

    if (access->sign && access->bytes < 8) {
        unsigned unused = 64 - 8u * access->bytes;

        value = (uint64_t)((int64_t)(value << unused) >> unused);
    }
    if (access->reg_bytes == 8) {
        *reg = (greg_t)value;
    } else if (access->reg_bytes == 4) { /* clears the upper half */
        *reg = (greg_t)(uint32_t)value;
    } else {
        mask = (access->reg_bytes == 2 ? 0xffffull : 0xffull) << shift;
        *reg = (greg_t)(((uint64_t)*reg & ~mask) | (value << shift & mask));
    }
}

static bool emulate(int i, uint64_t fault, ucontext_t *context)
{
    uint64_t ip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    uint64_t offset = ranges[i].offset + (fault - ranges[i].start);
    uint8_t code[16] = {0};
    struct access access;
    size_t first;
    uint64_t stored;
    uint64_t loaded = UINT64_MAX;

    if (ip == fault)
        return false;
    /* The rest of it may lie in the next page, if there is one. */
    first = PAGE_BYTES - (ip & (PAGE_BYTES - 1));
    first = first < 15 ? first : 15;
    memcpy(code, (const void *)(uintptr_t)ip, first);
    if (first < 15)
        preload_copy_in(code + first, (const void *)(uintptr_t)(ip + first), 15 - first);
    if (!decode_access(code, &access)) {
        preload_say("%s: register %#llx of BAR%u is used by an instruction other than a plain "
                    "load or store (%02x %02x %02x %02x %02x %02x %02x %02x at %#llx)\n"
                    "  the program must use 8- to 64-bit moves there, or run on a real VF",
                    ranges[i].slot->bdf, (unsigned long long)offset, ranges[i].region, code[0],
                    code[1], code[2], code[3], code[4], code[5], code[6], code[7],
                    (unsigned long long)ip);
        return false;
    }
    if ((access.load && !(ranges[i].prot & PROT_READ)) ||
        (access.store && !(ranges[i].prot & PROT_WRITE)))
        return false;
    stored = access.store ? value_to_store(context, &access) : 0;
    if (!preload_foreign()) {
        if (access.load &&
            slot_read(ranges[i].slot, ranges[i].region, offset, &loaded, access.bytes))
            loaded = UINT64_MAX;
        /* Posted, as on the bus: the socket keeps it in order with later accesses. */
        if (access.store)
            slot_write(ranges[i].slot, ranges[i].region, offset, &stored, access.bytes, true);
    }
    if (preload.trace)
        preload_say("%s BAR%u+%#llx: %s%s %#llx", ranges[i].slot->bdf, ranges[i].region,
                    (unsigned long long)offset, access.load ? "load" : "",
                    access.store ? "store" : "",
                    (unsigned long long)(access.load ? loaded : stored));
    if (access.load)
        put_loaded(context, &access,
                   access.bytes == 8 ? loaded : loaded & ((1ull << 8 * access.bytes) - 1));
    context->uc_mcontext.gregs[REG_RIP] += access.length;
    return true;
}

#else

static bool emulate(int i, uint64_t fault, ucontext_t *context)
{
    (void)context;
    preload_say("%s: register %#llx of BAR%u cannot be trapped on this processor\n"
                "  use pread and pwrite, or pages that the server offers for mmap (--sparse)",
                ranges[i].slot->bdf,
                (unsigned long long)(ranges[i].offset + (fault - ranges[i].start)),
                ranges[i].region);
    return false;
}

#endif

static void on_fault(int signal, siginfo_t *info, void *context)
{
    uint64_t fault = (uint64_t)(uintptr_t)info->si_addr;
    int error = errno;

    if (info->si_code > 0) {
        for (int i = 0; i < MAX_RANGES; i++) {
            uint64_t start = __atomic_load_n(&ranges[i].start, __ATOMIC_ACQUIRE);

            if (start && fault >= start && fault - start < ranges[i].size) {
                if (!emulate(i, fault, context))
                    break;
                errno = error;
                return;
            }
        }
        if (moving_wait(fault)) {
            errno = error;
            return;
        }
    }
    pass_on(signal, info, context);
}

int trap_start(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    next_sigaction = (int (*)(int, const struct sigaction *, struct sigaction *))(uintptr_t)dlsym(
        RTLD_NEXT, "sigaction");
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSEGV);
    return next_sigaction(SIGSEGV, &action, &program) ? -errno : 0;
}

#define HOOK __attribute__((visibility("default")))

HOOK int sigaction(int signal, const struct sigaction *restrict action,
                   struct sigaction *restrict old)
{
    struct sigaction changed;

    if (!next_sigaction)
        next_sigaction = (int (*)(int, const struct sigaction *, struct sigaction *))(
            uintptr_t)dlsym(RTLD_NEXT, "sigaction");
    if (signal == SIGSEGV && preload.ready) {
        struct sigaction before = program;

        if (action)
            program = *action;
        if (old)
            *old = before;
        return 0;
    }
    if (action) { /* a register may be used in any handler: SIGSEGV must never be blocked */
        changed = *action;
        sigdelset(&changed.sa_mask, SIGSEGV);
        action = &changed;
    }
    return next_sigaction(signal, action, old);
}

HOOK sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, &old))
        return SIG_ERR;
    return old.sa_handler;
}

static int mask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t changed;

    if (set && how != SIG_UNBLOCK && preload.ready) {
        changed = *set;
        sigdelset(&changed, SIGSEGV);
        set = &changed;
    }
    return syscall(SYS_rt_sigprocmask, how, set, old, 8) ? errno : 0;
}

HOOK int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    int error = errno;
    int result = mask(how, set, old);

    errno = error;
    return result;
}

HOOK int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    return mask(how, set, old) ? -1 : 0;
}
