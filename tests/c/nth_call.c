/* SPDX-License-Identifier: BSD-3-Clause */
/* For LD_PRELOAD: one call of a function of libc fails, the n-th from now on (tests/port/test_nth_call.py). Of
 * allocations only those count that iavfio's own C makes, of mappings only those of files. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void nth_arm(const char *function, long calls_before, int error);
int nth_disarm(void);

static char armed[32];
static int code;
static long left; /* calls until the one that fails, itself included; 0: none fails */
static int reached;

void nth_arm(const char *function, long calls_before, int error)
{
    strncpy(armed, function, sizeof(armed) - 1);
    code = error;
    reached = 0;
    __atomic_store_n(&left, calls_before + 1, __ATOMIC_SEQ_CST);
}

/* Whether a call has failed. */
int nth_disarm(void)
{
    __atomic_store_n(&left, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&reached, __ATOMIC_SEQ_CST);
}

static bool fails(const char *function)
{
    if (__atomic_load_n(&left, __ATOMIC_RELAXED) <= 0 || strcmp(function, armed) != 0)
        return false;
    if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) != 0)
        return false;
    __atomic_store_n(&reached, 1, __ATOMIC_SEQ_CST);
    errno = code;
    return true;
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

static bool allocation_fails(const void *caller)
{
    Dl_info from;

    if (__atomic_load_n(&left, __ATOMIC_RELAXED) <= 0 || strcmp("malloc", armed) != 0)
        return false;
    return dladdr(caller, &from) && from.dli_fname && strstr(from.dli_fname, "/iavfio/") &&
           fails("malloc");
}

void *malloc(size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (allocation_fails(__builtin_return_address(0)))
        return code;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
