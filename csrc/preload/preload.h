/* SPDX-License-Identifier: BSD-3-Clause */
/* A program's VFIO calls, turned into vfio-user messages (docs/spec/vfio.md 2, 4, 5, 6; vfio-user). */
#ifndef IAVFIO_PRELOAD_PRELOAD_H
#define IAVFIO_PRELOAD_PRELOAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PRELOAD_MAX_FD 65536
#define PRELOAD_MAX_SLOTS 32
#define PRELOAD_MAX_AREAS 8
#define PRELOAD_REGIONS 9
#define PRELOAD_CONFIG 7
#define PRELOAD_CONFIG_BYTES 256
#define PRELOAD_INFO_BYTES 16u /* of a device, without what newer kernels add */
#define PRELOAD_IRQ_INDEXES 5
/* as today's kernel lays regions out in a device's fd (docs/spec/vfio.md 5) */
#define PRELOAD_REGION_SHIFT 40

enum preload_kind { KIND_NONE, KIND_CONTAINER, KIND_GROUP, KIND_DEVICE };

struct vu_conn;
struct container;

struct area {
    uint64_t offset;
    uint64_t size;
};

struct region {
    uint64_t size;
    uint64_t fd_offset; /* of the region in `fd` */
    uint32_t flags; /* as the server says */
    uint32_t areas; /* that can be mapped */
    struct area area[PRELOAD_MAX_AREAS];
    int fd; /* -1: nothing can be mapped */
};

/* One vfio-user socket: a device alone in its IOMMU group. */
struct slot {
    char bdf[16];
    char socket[128];
    unsigned group;
    unsigned group_fds;
    unsigned device_fds;
    struct container *container;
    pthread_rwlock_t lock; /* held for reading by whoever uses conn, for writing to replace it */
    struct vu_conn *conn;
    uint32_t max_fds;
    uint32_t max_data;
    uint32_t irqs;
    int msix_bar; /* -1: none */
    unsigned pcie_cap; /* offset in config space, 0: none */
    int lost_reported, refused_reported, unsealed_reported;
    struct region region[PRELOAD_REGIONS];
};

struct preload_settings {
    char root[512]; /* of the made-up sysfs and /dev */
    bool ready;
    bool sparse; /* report the server's sparse areas instead of one whole BAR */
    bool trace; /* print every call on stderr */
    unsigned iova_bits; /* width of the IOVA space */
    pid_t owner;
};

/* A preloaded library has nothing but static storage to keep this in. */
extern struct preload_settings preload;
extern struct slot preload_slots[PRELOAD_MAX_SLOTS];
extern unsigned preload_slot_count;
extern pthread_mutex_t preload_lock; /* over fds, containers, groups */

/* A signal handler of the program may use the device: none must run while a lock is held. */
void preload_enter(sigset_t *saved);
void preload_leave(const sigset_t *saved);
void preload_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int preload_copy_in(void *to, const void *from, size_t size);
int preload_copy_out(void *to, const void *from, size_t size);
bool preload_foreign(void); /* in a child of fork or vfork: the parent's devices are not ours */

/* files.c: results are a value or a negative errno */
/* `release` is called with the object when the last fd that leads to it is closed. */
int file_new(enum preload_kind kind, void *object, void (*release)(void *object));
void files_forget_all(void);
bool file_is_ours(int fd);
void *file_object(int fd, enum preload_kind *kind);

struct container *file_container(int fd);

/* open.c: whether `path` is one of VFIO's; then *fd is a descriptor or a negative errno */
int open_vfio(const char *path, int *fd);

/* paths.c */
const char *path_moved(const char *path, char *room, size_t size);

/* container.c */
struct container *container_new(void);
void container_put(struct container *container);
int container_ioctl(struct container *container, unsigned long request, void *arg);
int container_join(struct container *container, struct slot *slot);
void container_part(struct slot *slot);
bool container_has_iommu(const struct container *container);

/* group.c */
int group_open(struct slot *slot);
void group_close(struct slot *slot);
int group_ioctl(struct slot *slot, unsigned long request, void *arg);

/* region.c: takes a reply to GET_REGION_INFO of `size` bytes; 0 or -EPROTO. The areas lie in the region. */
int region_learn(struct region *region, const uint8_t *reply, uint32_t size, bool has_file);

/* replies.c: what a reply of `size` bytes says; 0, or -EPROTO or -EIO where it is none. */
struct vfio_irq_info;
/* `reply` has room for one byte more. */
int version_learn(struct slot *slot, uint8_t *reply, uint32_t size);
int info_learn(uint32_t *flags, const uint8_t *reply, uint32_t size);
int irq_learn(struct vfio_irq_info *info, uint32_t index, const uint8_t *reply, uint32_t size);
/* Finds the BAR of the MSI-X table, and the PCI Express capability. */
void config_learn(struct slot *slot, const uint8_t config[PRELOAD_CONFIG_BYTES]);

/* slot.c */
int slot_connect(struct slot *slot);
void slot_disconnect(struct slot *slot);
int slot_request(struct slot *slot, uint16_t command, const void *payload, uint32_t size,
                 const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *got);
int slot_dma_map(struct slot *slot, uint32_t flags, uint64_t iova, uint64_t size, int fd,
                 uint64_t offset);
int slot_dma_unmap(struct slot *slot, uint64_t iova, uint64_t size);
int slot_read(struct slot *slot, uint32_t region, uint64_t offset, void *data, uint32_t count);
int slot_write(struct slot *slot, uint32_t region, uint64_t offset, const void *data,
               uint32_t count, bool posted);

/* device.c */
int device_ioctl(struct slot *slot, unsigned long request, void *arg);
ssize_t device_read(struct slot *slot, void *data, size_t count, uint64_t at);
ssize_t device_write(struct slot *slot, const void *data, size_t count, uint64_t at);
void *device_mmap(struct slot *slot, void *address, size_t length, int prot, int flags,
                  uint64_t at);
int device_reset(struct slot *slot);

/* irqs.c */
int device_get_irq_info(struct slot *slot, void *arg);
int device_set_irqs(struct slot *slot, void *arg);

/* memory.c */
struct piece {
    uint64_t size;
    uint64_t offset;
    int fd;
    bool own; /* opened for this: closed by memory_free */
};
int memory_pieces(uint64_t address, uint64_t size, bool writable, struct piece **pieces,
                  uint32_t *count);
void memory_free(struct piece *pieces, uint32_t count);
void memory_unmapped(uint64_t address, uint64_t size);

/* moving.c: memory that is being moved now; other threads that write to it wait for the end */
void moving_begin(uint64_t start, uint64_t size);
void moving_end(void);
/* True when `address` was being moved; the move has ended on return. */
bool moving_wait(uint64_t address);

/* trap.c */
int trap_add(struct slot *slot, uint32_t region, uint64_t offset, void *address, size_t length,
             int prot);
void trap_remove(uint64_t address, uint64_t size);
bool trap_covers(uint64_t address, uint64_t size);
int trap_start(void); /* 0 or -errno */
void trap_orphan(void);

/* decode.c */
struct access {
    uint8_t bytes; /* of memory: 1, 2, 4, 8 */
    uint8_t length; /* of the instruction */
    bool load, store;
    bool sign; /* a load extends by sign */
    uint8_t reg_bytes; /* of the register written by a load: 1, 2, 4, 8 */
    int reg; /* number as the CPU counts them, -1: immediate */
    bool high; /* AH CH DH BH */
    uint64_t immediate;
};
bool decode_access(const uint8_t *code, struct access *access);

#endif
