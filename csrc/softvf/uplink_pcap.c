/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire is a classic pcap file to replay, once or in rounds, and another to record into. The other end begins
 * when VFs are up, and knows how much they can take; with a pace its frames come at their times instead, whether
 * there is room or not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "softvf/clock.h"
#include "softvf/uplink.h"
#include "softvf/uplink_pace.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define LINK_ETHERNET 1u
#define CAPTURED_MAX (1u << 24) /* no frame is longer: a record that says so is none */
#define START_MAX 64u
#define ROUNDS_MAX 1000000000u
#define FOREVER 0u
#define SNAPLEN 16384u

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, snaplen, link;
};

struct record {
    uint32_t seconds, fraction, captured, length;
};

struct pcap {
    struct uplink uplink; /* first */
    FILE *in, *out;
    bool swapped;
    uint32_t tick; /* ns of the fraction of a record's time */
    uint32_t loop; /* rounds to play, or FOREVER */
    uint64_t playable; /* frames of this round */
    bool held; /* `frame` is read and waits for its time */
    uint32_t len;
    uint64_t captured; /* its time in the file, ns */
    struct pace pace;
    uint8_t frame[UPLINK_FRAME_MAX];
};

static uint32_t order(const struct pcap *pcap, uint32_t value)
{
    return pcap->swapped ? __builtin_bswap32(value) : value;
}

/* The frame of a record, of which `captured` bytes are in the file; false when the file ends before it. */
static bool read_frame(struct pcap *pcap, uint32_t captured)
{
    uint32_t part;

    for (; captured; captured -= part) { /* more than one round: it is left out */
        part = captured < sizeof(pcap->frame) ? captured : (uint32_t)sizeof(pcap->frame);
        if (fread(pcap->frame, part, 1, pcap->in) != 1)
            return false;
    }
    return true;
}

/* The next record that can be played; false at the end of the file, and where the file is cut or damaged. */
static bool read_record(struct pcap *pcap)
{
    struct uplink *uplink = &pcap->uplink;
    uint32_t *len = &pcap->len;
    struct record record;
    size_t got;

    while ((got = fread(&record, 1, sizeof(record), pcap->in)) == sizeof(record)) {
        *len = order(pcap, record.captured);
        if (*len > CAPTURED_MAX || !read_frame(pcap, *len)) {
            uplink->damaged = true;
            return false;
        }
        if (*len > sizeof(pcap->frame)) {
            uplink->too_long++;
            continue;
        }
        uplink->partial += *len < order(pcap, record.length);
        pcap->captured = order(pcap, record.seconds) * 1000000000ull +
                         (uint64_t)order(pcap, record.fraction) * pcap->tick;
        pcap->playable++;
        return true;
    }
    uplink->damaged = got != 0;
    return false;
}

/* The next record of this round or the following one; false when the last round is over, or there is nothing in
 * the file that a further one could play. */
static bool read_rounds(struct pcap *pcap)
{
    struct uplink *uplink = &pcap->uplink;

    while (!read_record(pcap)) {
        if (uplink->damaged)
            return false;
        uplink->rounds++;
        if (!pcap->playable || uplink->rounds == pcap->loop ||
            fseek(pcap->in, sizeof(struct file_header), SEEK_SET))
            return false;
        pcap->playable = 0;
        pace_round(&pcap->pace);
    }
    return true;
}

/* Whether the time of the frame has come that is held. */
static bool is_due(struct pcap *pcap)
{
    struct uplink *uplink = &pcap->uplink;
    uint64_t now = clock_ns();

    if (!uplink->due) {
        pcap->pace.begun = pcap->pace.begun ? pcap->pace.begun : now;
        uplink->due = pcap->pace.begun + pace_due(&pcap->pace, pcap->captured);
    }
    if (now < uplink->due)
        return false;
    if (now - uplink->due > uplink->late_ns)
        uplink->late_ns = now - uplink->due;
    uplink->due = 0;
    return true;
}

static const uint8_t *pcap_next(struct uplink *uplink, uint32_t *len)
{
    struct pcap *pcap = (struct pcap *)uplink;

    if (!pcap->in)
        return NULL;
    if (!pcap->held && !read_rounds(pcap)) {
        fclose(pcap->in);
        pcap->in = NULL;
        uplink->ended = true;
        return NULL;
    }
    pcap->held = uplink->paced && !is_due(pcap);
    *len = pcap->len;
    return pcap->held ? NULL : pcap->frame;
}

static int pcap_send(struct uplink *uplink, const uint8_t *frame, uint32_t len)
{
    struct pcap *pcap = (struct pcap *)uplink;
    struct record record = {.captured = len, .length = len};
    struct timespec now;

    if (!pcap->out)
        return 0; /* nobody listens: the frame is on the wire all the same */
    clock_gettime(CLOCK_REALTIME, &now);
    record.seconds = (uint32_t)now.tv_sec;
    record.fraction = (uint32_t)now.tv_nsec;
    if (fwrite(&record, sizeof(record), 1, pcap->out) != 1 || fwrite(frame, len, 1, pcap->out) != 1)
        return -errno;
    return 0;
}

static void pcap_close(struct uplink *uplink)
{
    struct pcap *pcap = (struct pcap *)uplink;

    if (pcap->in)
        fclose(pcap->in);
    if (pcap->out)
        fclose(pcap->out);
    free(pcap);
}

static const struct uplink_ops pcap_ops = {pcap_next, pcap_send, pcap_close};

static int open_input(struct pcap *pcap, const char *path, char *error, size_t size)
{
    struct file_header header;

    pcap->in = fopen(path, "rbe");
    if (!pcap->in) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (fread(&header, sizeof(header), 1, pcap->in) != 1) {
        snprintf(error, size, "%s is no pcap file: it is too short", path);
        return -1;
    }
    pcap->swapped =
        header.magic == __builtin_bswap32(MAGIC_US) || header.magic == __builtin_bswap32(MAGIC_NS);
    if (order(pcap, header.magic) != MAGIC_US && order(pcap, header.magic) != MAGIC_NS) {
        snprintf(error, size, "%s is no classic pcap file; convert it: editcap -F pcap IN OUT",
                 path);
        return -1;
    }
    pcap->tick = order(pcap, header.magic) == MAGIC_US ? 1000 : 1;
    if ((order(pcap, header.link) & 0xffff) != LINK_ETHERNET) {
        snprintf(error, size, "%s holds link type %u, not Ethernet", path,
                 order(pcap, header.link) & 0xffff);
        return -1;
    }
    return 0;
}

static int open_output(struct pcap *pcap, const char *path, char *error, size_t size)
{
    struct file_header header = {
        .magic = MAGIC_NS, .major = 2, .minor = 4, .snaplen = SNAPLEN, .link = LINK_ETHERNET};

    pcap->out = fopen(path, "wbe");
    if (!pcap->out || fwrite(&header, sizeof(header), 1, pcap->out) != 1 || fflush(pcap->out)) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

/* start=N, start=all or start=command. */
static int parse_start(struct uplink *uplink, const char *text)
{
    char *end;
    unsigned long number;

    if (strcmp(text, "all") == 0) {
        uplink->start = UPLINK_START_ALL;
        return 0;
    }
    if (strcmp(text, "command") == 0) {
        uplink->start = UPLINK_START_COMMAND;
        return 0;
    }
    errno = 0;
    number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || number > START_MAX)
        return -1;
    uplink->start = (uint32_t)number;
    return 0;
}

/* loop=N or loop=forever. */
static int parse_loop(struct pcap *pcap, const char *text)
{
    char *end;
    unsigned long number;

    if (strcmp(text, "forever") == 0) {
        pcap->loop = FOREVER;
        return 0;
    }
    errno = 0;
    number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || !number || number > ROUNDS_MAX)
        return -1;
    pcap->loop = (uint32_t)number;
    return 0;
}

/* One of start=, loop= and pace=: 1 when `part` is none of them, -1 with a reason in error[size] when it makes no
 * sense. */
static int parse_option(struct pcap *pcap, const char *part, char *error, size_t size)
{
    int result = 1;

    if (strncmp(part, "start=", 6) == 0) {
        result = parse_start(&pcap->uplink, part + 6);
        if (result)
            snprintf(error, size,
                     "%s: so many VFs must be up before the capture begins: 0 to %u, all, or "
                     "command",
                     part, START_MAX);
    } else if (strncmp(part, "loop=", 5) == 0) {
        result = parse_loop(pcap, part + 5);
        if (result)
            snprintf(error, size, "%s: the capture is played so many times: 1 to %u, or forever",
                     part, ROUNDS_MAX);
    } else if (strncmp(part, "pace=", 5) == 0) {
        result = pace_parse(&pcap->pace, part + 5);
        pcap->uplink.paced = pace_is_set(&pcap->pace);
        if (result)
            snprintf(error, size,
                     "%s: frames come as they were captured (original), so many times as fast (x2, "
                     "x0.5), at a rate (1000, 10kpps), or as fast as VFs have room (max)",
                     part);
    }
    return result;
}

/* What no file can do that was named: rounds of one that cannot be wound back, and anything of none. */
static int check_options(const struct pcap *pcap, char *error, size_t size)
{
    if (!pcap->in && (pcap->loop != 1 || pcap->uplink.paced)) {
        snprintf(error, size,
                 "loop= and pace= are for a capture that is played, and none is named; "
                 "write pcap:IN");
        return -1;
    }
    if (pcap->in && pcap->loop != 1 && fseek(pcap->in, 0, SEEK_CUR)) {
        snprintf(error, size, "a pipe can be played once only; loop= needs a file");
        return -1;
    }
    return 0;
}

/* Takes the comma-separated parts of `paths` one by one; it is written to. */
static int open_parts(struct pcap *pcap, char *paths, char *error, size_t size)
{
    int number = 0, result = 0;

    for (char *part; result == 0 && (part = strsep(&paths, ","));) {
        result = parse_option(pcap, part, error, size);
        if (result <= 0)
            continue;
        result = 0;
        if (number > 1) {
            snprintf(error, size,
                     "\"%s\" is a third file; write pcap:IN[,OUT][,start=N][,loop=N][,pace=P]",
                     part);
            result = -1;
        } else if (*part) {
            result =
                number ? open_output(pcap, part, error, size) : open_input(pcap, part, error, size);
        }
        number++;
    }
    if (result == 0 && !pcap->in && !pcap->out) {
        snprintf(error, size, "pcap: names no file; write pcap:IN, pcap:IN,OUT or pcap:,OUT");
        result = -1;
    }
    return result ? result : check_options(pcap, error, size);
}

struct uplink *uplink_open_pcap(const char *paths, char *error, size_t size)
{
    struct pcap *pcap = calloc(1, sizeof(*pcap));
    char *parts = strdup(paths);
    int result = -1;

    snprintf(error, size, "no memory");
    if (pcap && parts) {
        pcap->uplink.ops = &pcap_ops;
        pcap->uplink.start = 1;
        pcap->loop = 1;
        result = open_parts(pcap, parts, error, size);
        pcap->uplink.patient = pcap->in;
    }
    free(parts);
    if (result && pcap)
        pcap_close(&pcap->uplink);
    return result ? NULL : &pcap->uplink;
}
