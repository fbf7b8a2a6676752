/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow director's rules. Those of the same headers and fields are one pattern: a frame's fields are taken
 * together once a pattern and looked up among those of all rules. A VF without rules never comes here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "softvf/flows.h"
#include "softvf/headers.h"

#define KEY 72 /* bytes of all fields that one frame can have; a multiple of 8 */
#define SLOTS (2u * SOFTVF_FLOWS) /* a power of two, never full */
#define QUEUE_MAX 0x7ffu /* as the descriptor that programs a card has bits for: 11 ... */
#define QUEUES_MAX 128u /* ... and 3, of a power of two */
#define NO_RULE 0xffffffffu

struct pattern {
    uint32_t headers, fields;
};

struct rule {
    uint32_t pattern;
    struct flow_verdict verdict;
    uint8_t key[KEY];
};

struct flow_table {
    bool comms;
    uint32_t patterns, rules;
    struct pattern pattern[SOFTVF_FLOW_PATTERNS];
    uint16_t slot[SLOTS]; /* index of a rule and 1; 0: free */
    struct rule rule[];
};

/* Takes the fields out of a frame, one behind the other, zeros behind them; false when it lacks one. */
static bool collect(const uint8_t *frame, uint32_t len, const struct headers *found,
                    uint32_t fields, uint8_t *key)
{
    uint32_t at = 0;

    memset(key, 0, KEY);
    for (; fields; fields &= fields - 1) {
        struct place place = headers_place(found, fields & -fields);

        if (place.at > len || place.size > len - place.at || at + place.size > KEY || !place.size)
            return false;
        memcpy(key + at, frame + place.at, place.size);
        if (place.mask && place.size == 2)
            put16(key + at, get16(key + at) & place.mask);
        else if (place.mask)
            key[at] &= (uint8_t)place.mask;
        at += place.size;
    }
    return true;
}

static uint32_t slot_of(uint32_t pattern, const uint8_t *key)
{
    uint64_t hash = pattern, word;

    for (uint32_t i = 0; i < KEY; i += sizeof(word)) {
        memcpy(&word, key + i, sizeof(word));
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash & (SLOTS - 1);
}

/* The slot of the first rule with this key, or the free one where it would be. */
static uint32_t look_up(const struct flow_table *table, uint32_t pattern, const uint8_t *key)
{
    uint32_t at = slot_of(pattern, key);

    for (; table->slot[at]; at = (at + 1) & (SLOTS - 1)) {
        const struct rule *rule = &table->rule[table->slot[at] - 1];

        if (rule->pattern == pattern && !memcmp(rule->key, key, KEY))
            break;
    }
    return at;
}

/* Finds the headers of a template. A training packet's IP header often does not count what stands behind it,
 * and no card minds: here what is there counts, up to the template's end. */
static void find_template(uint8_t *frame, uint32_t len, bool comms,
                          const struct pkt_tunnels *tunnels, struct headers *found)
{
    struct pkt_info info;

    pkt_parse(frame, len, tunnels, &info);
    headers_find(frame, len, comms, &info, found);
    if (found->l3 == NOWHERE)
        return;
    if (found->version == 4)
        put16(frame + found->l3 + 2, (uint16_t)(len - found->l3));
    else
        put16(frame + found->l3 + 4, (uint16_t)(len - found->l3 - 40));
    pkt_parse(frame, len, tunnels, &info);
    headers_find(frame, len, comms, &info, found);
}

/* The pattern's index; SOFTVF_FLOW_PATTERNS when there is no room for one more. */
static uint32_t pattern_of(struct flow_table *table, const struct softvf_flow *flow)
{
    uint32_t i = 0;

    while (i < table->patterns &&
           (table->pattern[i].headers != flow->headers || table->pattern[i].fields != flow->fields))
        i++;
    if (i == table->patterns && i < SOFTVF_FLOW_PATTERNS)
        table->pattern[table->patterns++] = (struct pattern){flow->headers, flow->fields};
    return i;
}

static int add(struct flow_table *table, const struct softvf_flow *flow,
               const struct pkt_tunnels *tunnels)
{
    struct rule *rule = &table->rule[table->rules];
    uint8_t frame[SOFTVF_FLOW_FRAME];
    struct headers found;
    uint32_t at;

    if (flow->frame_len > sizeof(frame) || flow->action > SOFTVF_FLOW_PASS ||
        flow->headers >= 2u * SOFTVF_HAS_NON_IP || flow->queue > QUEUE_MAX || !flow->queues ||
        flow->queues > QUEUES_MAX || flow->queues & (flow->queues - 1))
        return -EINVAL;
    if (flow->frame_len)
        memcpy(frame, flow->frame, flow->frame_len);
    find_template(frame, flow->frame_len, table->comms, tunnels, &found);
    if (!headers_promised(&found, flow->headers) ||
        !collect(frame, flow->frame_len, &found, flow->fields, rule->key))
        return -EINVAL;
    rule->pattern = pattern_of(table, flow);
    if (rule->pattern == SOFTVF_FLOW_PATTERNS)
        return -ENOSPC;
    rule->verdict =
        (struct flow_verdict){.action = (enum softvf_flow_action)flow->action,
                              .queue = flow->queue,
                              .mask = flow->action == SOFTVF_FLOW_QUEUES ? flow->queues - 1 : 0,
                              .mark = flow->mark,
                              .marked = flow->marked};
    at = look_up(table, rule->pattern, rule->key);
    table->rules++;
    if (!table->slot[at]) /* otherwise an earlier rule takes all frames of this one */
        table->slot[at] = (uint16_t)table->rules;
    return 0;
}

int flows_compile(const struct softvf_config *config, const struct pkt_tunnels *tunnels,
                  struct flow_table **table)
{
    struct flow_table *fresh;
    int error = 0;

    *table = NULL;
    if (!config->num_flows)
        return 0;
    if (config->num_flows > SOFTVF_FLOWS)
        return -ENOSPC;
    fresh = calloc(1, sizeof(*fresh) + config->num_flows * sizeof(fresh->rule[0]));
    if (!fresh)
        return -ENOMEM;
    fresh->comms = config->comms;
    for (uint32_t i = 0; i < config->num_flows && !error; i++)
        error = add(fresh, &config->flows[i], tunnels);
    if (error)
        flows_free(fresh);
    else
        *table = fresh;
    return error;
}

void flows_free(struct flow_table *table)
{
    free(table);
}

const struct flow_verdict *flows_match(const struct flow_table *table, const uint8_t *frame,
                                       uint32_t len, const struct pkt_info *info)
{
    uint32_t first = NO_RULE;
    struct headers found;
    uint8_t key[KEY];

    headers_find(frame, len, table->comms, info, &found);
    for (uint32_t i = 0; i < table->patterns; i++) {
        const struct pattern *pattern = &table->pattern[i];
        uint32_t rule;

        if (!headers_fit(&found, pattern->headers) ||
            !collect(frame, len, &found, pattern->fields, key))
            continue;
        rule = table->slot[look_up(table, i, key)];
        if (rule && rule - 1 < first)
            first = rule - 1;
    }
    return first == NO_RULE ? NULL : &table->rule[first].verdict;
}

uint32_t flows_patterns(const struct flow_table *table)
{
    return table->patterns;
}
