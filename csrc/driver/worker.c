/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "driver/cdef.h"
struct worker *worker_start(const struct worker_config *config, int *error) { (void)config; *error = -ENOSYS; return 0; }
const struct worker_counters *worker_counters(const struct worker *worker) { (void)worker; return 0; }
void worker_finish(struct worker *worker, uint32_t drain_ms) { (void)worker; (void)drain_ms; }
void worker_free(struct worker *worker) { (void)worker; }
void worker_stop(struct worker *worker) { (void)worker; }
struct verify *verify_new(uint32_t senders, uint32_t flows) { (void)senders; (void)flows; return 0; }
void verify_free(struct verify *table) { (void)table; }
