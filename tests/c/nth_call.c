/* SPDX-License-Identifier: BSD-3-Clause */
/* For LD_PRELOAD: one call of a function of libc fails, the n-th from now on (tests/nth). Of allocations and of
 * system calls by number only those count that iavfio's own C makes, of mappings only those of files; nth_own
 * narrows all of them to those that this library or program makes. $NTH_CALL=FUNCTION:PLACE:ERRNO:OWN arms at
 * the start, and $NTH_REPORT names the file that gets the number of calls at the end. What iavfio's C allocates
 * after nth_watch and does not free is counted, too; and its thread then gets SIGUSR2 where the call fails. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void nth_arm(const char *function, long calls_before, int error);
void nth_own(const char *name);
long nth_calls(void);
int nth_disarm(void);
void nth_watch(void);
long nth_held(void);
const char *nth_by(void);

static char armed[32];
static char own[64]; /* part of the name of whose calls alone count; "": everybody's */
static int code;
static int on;
static long place, calls;
static int reached;
static int watching;
static char by[256]; /* the file of who made the call that failed */

void nth_arm(const char *function, long calls_before, int error)
{
    strncpy(armed, function, sizeof(armed) - 1);
    code = error;
    reached = 0;
    by[0] = '\0';
    place = calls_before;
    calls = 0;
    __atomic_store_n(&on, 1, __ATOMIC_SEQ_CST);
}

void nth_own(const char *name)
{
    strncpy(own, name, sizeof(own) - 1);
}

/* How many calls there were since nth_arm. */
long nth_calls(void)
{
    return __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
}

/* Whether a call has failed. */
int nth_disarm(void)
{
    __atomic_store_n(&on, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&reached, __ATOMIC_SEQ_CST);
}

/* Who made the call that failed: the path of a library or program. */
const char *nth_by(void)
{
    return by;
}

static bool made_by(const void *caller, const char *name)
{
    Dl_info from;

    return dladdr(caller, &from) && from.dli_fname && strstr(from.dli_fname, name);
}

static bool fails_for(const char *function, const void *caller)
{
    Dl_info from;

    if (!__atomic_load_n(&on, __ATOMIC_RELAXED) || strcmp(function, armed) != 0)
        return false;
    if (own[0] && !made_by(caller, own))
        return false;
    if (__atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) != place)
        return false;
    if (dladdr(caller, &from) && from.dli_fname)
        strncpy(by, from.dli_fname, sizeof(by) - 1);
    __atomic_store_n(&reached, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&watching, __ATOMIC_RELAXED))
        raise(SIGUSR2);
    errno = code;
    return true;
}
#define fails(function) fails_for(function, __builtin_return_address(0))

__attribute__((constructor)) static void arm_at_start(void)
{
    const char *row = getenv("NTH_CALL");
    char function[32];
    long before;
    int error;

    if (row && sscanf(row, "%31[^:]:%ld:%d:%63s", function, &before, &error, own) == 4)
        nth_arm(function, before, error);
}

__attribute__((destructor)) static void report_at_end(void)
{
    const char *path = getenv("NTH_REPORT");
    FILE *out;

    nth_disarm();
    out = path ? fopen(path, "we") : NULL;
    if (!out)
        return;
    fprintf(out, "%ld", nth_calls());
    fclose(out);
}

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* clang-format off */
#define CALL(result, failure, function, name, parameters, ...) \
    result name parameters \
    { \
        REAL(name); \
        return fails(function) ? failure : real(__VA_ARGS__); \
    }

CALL(int, -1, "socket", socket, (int domain, int type, int protocol), domain, type, protocol)
CALL(int, -1, "bind", bind, (int fd, const struct sockaddr *at, socklen_t size), fd, at, size)
CALL(int, -1, "listen", listen, (int fd, int waiting), fd, waiting)
CALL(int, -1, "connect", connect, (int fd, const struct sockaddr *to, socklen_t size), fd, to, size)
CALL(int, -1, "eventfd", eventfd, (unsigned int start, int flags), start, flags)
CALL(int, -1, "memfd_create", memfd_create, (const char *name, unsigned int flags), name, flags)
CALL(int, -1, "ftruncate", ftruncate, (int fd, off_t size), fd, size)
CALL(int, -1, "ftruncate", ftruncate64, (int fd, off64_t size), fd, size)
CALL(int, code, "posix_fallocate", posix_fallocate, (int fd, off_t at, off_t size), fd, at, size)
CALL(int, code, "posix_fallocate", posix_fallocate64, (int fd, off64_t at, off64_t size), fd, at, size)
CALL(int, -1, "fchmod", fchmod, (int fd, mode_t mode), fd, mode)
CALL(int, code, "pthread_create", pthread_create,
     (pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     thread, attributes, run, argument)

CALL(ssize_t, -1, "read", read, (int fd, void *data, size_t size), fd, data, size)
CALL(ssize_t, -1, "write", write, (int fd, const void *data, size_t size), fd, data, size)
CALL(int, -1, "poll", poll, (struct pollfd *fds, nfds_t count, int wait), fds, count, wait)
CALL(int, -1, "ppoll", ppoll,
     (struct pollfd *fds, nfds_t count, const struct timespec *wait, const sigset_t *mask), fds, count, wait, mask)
CALL(ssize_t, -1, "sendmsg", sendmsg, (int fd, const struct msghdr *message, int flags), fd, message, flags)
CALL(ssize_t, -1, "recvmsg", recvmsg, (int fd, struct msghdr *message, int flags), fd, message, flags)
CALL(ssize_t, -1, "send", send, (int fd, const void *data, size_t size, int flags), fd, data, size, flags)
CALL(ssize_t, -1, "recv", recv, (int fd, void *data, size_t size, int flags), fd, data, size, flags)
CALL(int, -1, "accept", accept, (int fd, struct sockaddr *from, socklen_t *size), fd, from, size)
CALL(int, -1, "accept", accept4, (int fd, struct sockaddr *from, socklen_t *size, int flags), fd, from, size, flags)
CALL(int, -1, "mkdir", mkdir, (const char *path, mode_t mode), path, mode)
CALL(int, -1, "mkdir", mkdirat, (int at, const char *path, mode_t mode), at, path, mode)
CALL(int, -1, "link", link, (const char *from, const char *to), from, to)
CALL(int, -1, "link", linkat, (int at, const char *from, int there, const char *to, int flags),
     at, from, there, to, flags)
CALL(int, -1, "fstat", fstat, (int fd, struct stat *facts), fd, facts)
CALL(int, -1, "fstat", fstat64, (int fd, struct stat64 *facts), fd, facts)
CALL(int, -1, "madvise", madvise, (void *at, size_t size, int advice), at, size, advice)
CALL(int, -1, "mprotect", mprotect, (void *at, size_t size, int protection), at, size, protection)
CALL(int, -1, "munmap", munmap, (void *at, size_t size), at, size)
CALL(int, -1, "sigaction", sigaction, (int number, const struct sigaction *new, struct sigaction *old),
     number, new, old)
CALL(int, -1, "epoll_create", epoll_create1, (int flags), flags)
CALL(int, -1, "epoll_ctl", epoll_ctl, (int fd, int what, int which, struct epoll_event *event),
     fd, what, which, event)

#define FCNTL(name) \
    int name(int fd, int command, ...) \
    { \
        va_list rest; \
        void *argument; \
        REAL(name); \
        va_start(rest, command); \
        argument = va_arg(rest, void *); \
        va_end(rest); \
        return fails("fcntl") ? -1 : real(fd, command, argument); \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    void *argument;
    REAL(ioctl);

    va_start(rest, request);
    argument = va_arg(rest, void *);
    va_end(rest);
    return fails("ioctl") ? -1 : real(fd, request, argument);
}

#define MMAP(name, offset_type) \
    void *name(void *at, size_t size, int protection, int flags, int fd, offset_type offset) \
    { \
        REAL(name); \
        return fd >= 0 && fails("mmap") ? MAP_FAILED : real(at, size, protection, flags, fd, offset); \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

#define OPEN(name, parameters, ...) \
    int name parameters \
    { \
        va_list rest; \
        mode_t mode; \
        REAL(name); \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
        return fails("open") ? -1 : real(__VA_ARGS__, mode); \
    }
OPEN(open, (const char *path, int flags, ...), path, flags)
OPEN(open64, (const char *path, int flags, ...), path, flags)
OPEN(openat, (int at, const char *path, int flags, ...), at, path, flags)
OPEN(openat64, (int at, const char *path, int flags, ...), at, path, flags)
/* clang-format on */

/* dlsym itself allocates, so the real ones are glibc's own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *memory);

static bool own_fails(const char *function, const void *caller)
{
    if (!__atomic_load_n(&on, __ATOMIC_RELAXED) || strcmp(function, armed) != 0)
        return false;
    return made_by(caller, "/iavfio/") && fails_for(function, caller);
}

/* ---- what iavfio's C has allocated and not freed */

#define MOST_HELD 65536
static void *held[MOST_HELD];
static long held_count;
static pthread_spinlock_t held_lock;

void nth_watch(void)
{
    pthread_spin_init(&held_lock, PTHREAD_PROCESS_PRIVATE);
    held_count = 0;
    __atomic_store_n(&watching, 1, __ATOMIC_SEQ_CST);
}

/* How many allocations iavfio's C holds that it has made since nth_watch. */
long nth_held(void)
{
    return __atomic_load_n(&held_count, __ATOMIC_SEQ_CST);
}

static void *taken(void *memory, const void *caller)
{
    if (!memory || !__atomic_load_n(&watching, __ATOMIC_RELAXED) || !made_by(caller, "/iavfio/"))
        return memory;
    pthread_spin_lock(&held_lock);
    if (held_count < MOST_HELD)
        held[held_count++] = memory;
    pthread_spin_unlock(&held_lock);
    return memory;
}

static void given(void *memory)
{
    if (!memory || !__atomic_load_n(&watching, __ATOMIC_RELAXED))
        return;
    pthread_spin_lock(&held_lock);
    for (long i = held_count - 1; i >= 0; i--)
        if (held[i] == memory) {
            held[i] = held[--held_count];
            break;
        }
    pthread_spin_unlock(&held_lock);
}

/* ---- allocations */

#define CALLER __builtin_return_address(0)

void *malloc(size_t size)
{
    return own_fails("malloc", CALLER) ? NULL : taken(__libc_malloc(size), CALLER);
}

void *calloc(size_t count, size_t size)
{
    return own_fails("malloc", CALLER) ? NULL : taken(__libc_calloc(count, size), CALLER);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return own_fails("malloc", CALLER) ? NULL : taken(__libc_memalign(alignment, size), CALLER);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (own_fails("malloc", CALLER))
        return code;
    *out = taken(__libc_memalign(alignment, size), CALLER);
    return *out ? 0 : ENOMEM;
}

void *realloc(void *old, size_t size)
{
    void *grown;

    if (own_fails("realloc", CALLER))
        return NULL;
    given(old);
    grown = __libc_realloc(old, size);
    if (!grown && size)
        taken(old, CALLER);
    return taken(grown, CALLER);
}

void free(void *memory)
{
    given(memory);
    __libc_free(memory);
}

/* ---- system calls by number, as iavfio's C makes them where libc has no function or must not be asked ---- */

static const struct {
    long number;
    const char *name;
} numbers[] = {
    {SYS_io_setup, "io_setup"},
    {SYS_io_submit, "io_submit"},
    {SYS_openat, "open"},
    {SYS_mmap, "mmap"},
    {SYS_memfd_create, "memfd_create"},
    {SYS_fcntl, "fcntl"},
    {SYS_fstat, "fstat"},
    {SYS_pread64, "pread"},
    {SYS_pwrite64, "pwrite"},
    {SYS_dup, "dup"},
    {SYS_munmap, "munmap"},
    {SYS_mbind, "mbind"},
};

long syscall(long number, ...)
{
    va_list rest;
    long argument[6];
    REAL(syscall);

    va_start(rest, number);
    for (size_t i = 0; i < 6; i++)
        argument[i] = va_arg(rest, long);
    va_end(rest);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].number == number && own_fails(numbers[i].name, __builtin_return_address(0)))
            return -1;
    return real(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                argument[5]);
}
