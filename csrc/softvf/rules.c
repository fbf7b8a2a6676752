/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules for RSS: which one a frame is hashed by, and what of it (docs/spec/pf-dialects.md 9). A VF without
 * rules never comes here. */
#include <string.h>

#include "softvf/headers.h"
#include "softvf/rules.h"

/* Bytes that are hashed; what a frame of `room` bytes lacks is hashed as zeros, and what is too much for the
 * key is left out. */
struct input {
    uint8_t bytes[RSS_INPUT];
    uint32_t len, room;
};

static void take(struct input *input, const uint8_t *frame, uint32_t at, uint32_t size)
{
    if (input->len + size > RSS_INPUT)
        return;
    if (at <= input->room && size <= input->room - at)
        memcpy(input->bytes + input->len, frame + at, size);
    else
        memset(input->bytes + input->len, 0, size);
    input->len += size;
}

/* A field and the one behind it, as bits 0 and 1 of `which` ask; for a symmetric rule the lower of both comes
 * first, so that both directions hash alike. */
static void take_pair(struct input *input, const uint8_t *frame, struct place first, uint32_t which,
                      bool symmetric)
{
    uint32_t at = first.at, second = at == NOWHERE ? NOWHERE : at + first.size;

    if (which == 3 && symmetric && at != NOWHERE &&
        memcmp(frame + at, frame + second, first.size) > 0) {
        second = at;
        at = at + first.size;
    }
    if (which & 1)
        take(input, frame, at, first.size);
    if (which & 2)
        take(input, frame, second, first.size);
}

static uint32_t hash_of(const struct rss_conf *rss, const struct softvf_rule *rule,
                        const struct headers *found, const uint8_t *frame, uint32_t len)
{
    bool symmetric = rule->symmetric && rss->symmetric;
    struct input input = {.room = len};

    take_pair(&input, frame, headers_place(found, SOFTVF_OF_IP_SRC), rule->fields & 3, symmetric);
    take_pair(&input, frame, headers_place(found, SOFTVF_OF_SRC_PORT), rule->fields >> 2 & 3,
              symmetric);
    for (uint32_t field = SOFTVF_OF_IP_PROTO; field <= SOFTVF_OF_ETH_TYPE; field <<= 1) {
        struct place place = headers_place(found, field);

        if (rule->fields & field)
            take(&input, frame, place.at, place.size);
    }
    return rss_toeplitz(rss, input.bytes, input.len);
}

uint32_t rules_hash(const struct softvf_config *config, const struct rss_conf *rss,
                    const uint8_t *frame, uint32_t len, const struct pkt_info *info, bool *valid)
{
    struct headers found;

    headers_find(frame, len, config->comms, info, &found);
    for (uint32_t i = 0; i < config->num_rules; i++)
        if (headers_fit(&found, config->rules[i].headers)) {
            *valid = true;
            return hash_of(rss, &config->rules[i], &found, frame, len);
        }
    return rss_hash(rss, frame, info, valid);
}
