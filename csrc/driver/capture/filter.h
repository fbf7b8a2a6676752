/* SPDX-License-Identifier: BSD-3-Clause */
/* Classic BPF: the programs that libpcap compiles from tcpdump's expressions. */
#ifndef IAVFIO_DRIVER_FILTER_H
#define IAVFIO_DRIVER_FILTER_H

#include <stdint.h>

#define FILTER_STEPS_MAX 4096

/* The layout is that of struct bpf_insn. */
struct filter_step {
    uint16_t code;
    uint8_t jt, jf; /* steps to skip when a condition is true, and when it is false */
    uint32_t k;
};

/* Steps that are known, jumps forward to steps that exist, memory cells that exist, no division by a constant 0, and
 * a return at the end: a program that passes ends, and touches nothing outside of its frame. -1, or the number of the
 * first step that does not pass (that of the last for a program without end, 0 for one that is empty or too long). */
int filter_check(const struct filter_step *program, uint32_t steps);

/* Runs a checked program over `captured` bytes of a frame that has `length` on the wire: 0 refuses it. */
uint32_t filter_run(const struct filter_step *program, const uint8_t *frame, uint32_t captured,
                    uint32_t length);

#endif
