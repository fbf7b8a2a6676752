/* SPDX-License-Identifier: BSD-3-Clause */
/* The instruction sets that queue pairs are driven with. Each has a file here, which makes its functions
 * from rx_loop.h and tx_loop.h; isa_table.c lists them. */
#ifndef IAVFIO_DRIVER_ISA_H
#define IAVFIO_DRIVER_ISA_H

#include "driver/ring/queue_pair.h"

struct isa {
    const char *name;
    enum pair_isa number;
    bool (*usable)(void); /* whether this CPU has it */
    bool (*byte_tables)(void); /* whether the CPU looks bytes up in registers; NULL: no */
    const struct rx_paths *(*rx)(enum rx_format format, enum rx_metadata metadata);
    rx_post_fn rx_post;
    struct tx_paths tx;
};

#if defined(__x86_64__)
extern const struct isa isa_avx512;
extern const struct isa isa_avx2;
#elif defined(__aarch64__)
extern const struct isa isa_neon;
#endif
extern const struct isa isa_scalar;

#endif
