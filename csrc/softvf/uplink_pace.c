/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "softvf/uplink_pace.h"

#define SECOND 1e9
#define SPEED_MIN 0.001
#define SPEED_MAX 1e6
#define RATE_MIN 0.001
#define RATE_MAX 1e10
#define DIGITS_MAX 12

/* Digits with at most one point between them, whatever the process's locale; NULL when there is no number. */
static const char *read_number(const char *at, double *value)
{
    double unit = 1;
    int digits = 0;

    for (*value = 0; *at >= '0' && *at <= '9' && digits <= DIGITS_MAX; at++, digits++)
        *value = *value * 10 + (*at - '0');
    if (!digits || digits > DIGITS_MAX)
        return NULL;
    if (*at != '.')
        return at;
    for (at++, digits = 0; *at >= '0' && *at <= '9' && digits <= DIGITS_MAX; at++, digits++) {
        unit /= 10;
        *value += unit * (*at - '0');
    }
    return digits && digits <= DIGITS_MAX ? at : NULL;
}

int pace_parse(struct pace *pace, const char *text)
{
    static const struct {
        const char *word;
        double times;
    } units[] = {{"", 1},    {"pps", 1},    {"k", 1e3}, {"kpps", 1e3},
                 {"M", 1e6}, {"Mpps", 1e6}, {"G", 1e9}, {"Gpps", 1e9}};
    double value;

    *pace = (struct pace){0};
    if (strcmp(text, "max") == 0)
        return 0;
    if (strcmp(text, "original") == 0) {
        pace->speed = 1;
        return 0;
    }
    if (*text == 'x') {
        text = read_number(text + 1, &value);
        if (!text || *text || value < SPEED_MIN || value > SPEED_MAX)
            return -1;
        pace->speed = value;
        return 0;
    }
    text = read_number(text, &value);
    for (unsigned i = 0; text && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(text, units[i].word) == 0 && value * units[i].times >= RATE_MIN &&
            value * units[i].times <= RATE_MAX) {
            pace->gap = SECOND / (value * units[i].times);
            return 0;
        }
    return -1;
}

static uint64_t bounded(double ns)
{
    return ns < (double)PACE_NEVER ? (uint64_t)ns : PACE_NEVER;
}

uint64_t pace_due(struct pace *pace, uint64_t captured)
{
    uint64_t since = 0;

    if (pace->speed <= 0)
        return bounded((double)pace->frames++ * pace->gap);
    if (!pace->in_round++)
        pace->first = captured;
    if (captured > pace->first)
        since = bounded((double)(captured - pace->first) / pace->speed);
    pace->latest = since > pace->latest ? since : pace->latest;
    return bounded((double)pace->base + (double)pace->latest);
}

void pace_round(struct pace *pace)
{
    uint64_t gap = pace->in_round > 1 ? pace->latest / (pace->in_round - 1) : 0;

    pace->base = bounded((double)pace->base + (double)pace->latest + (double)gap);
    pace->latest = pace->in_round = 0;
}
