/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire is a classic pcap file to replay once, and another to record into. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "softvf/uplink.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define LINK_ETHERNET 1u

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
    uint8_t frame[16384];
};

static uint32_t order(const struct pcap *pcap, uint32_t value)
{
    return pcap->swapped ? __builtin_bswap32(value) : value;
}

static const uint8_t *pcap_next(struct uplink *uplink, uint32_t *len)
{
    struct pcap *pcap = (struct pcap *)uplink;
    struct record record;

    while (pcap->in) {
        uint32_t captured;

        if (fread(&record, sizeof(record), 1, pcap->in) != 1)
            break;
        captured = order(pcap, record.captured);
        if (captured > (1u << 24))
            break; /* no record: the file is damaged from here on */
        if (captured > sizeof(pcap->frame)) {
            if (fseek(pcap->in, (long)captured, SEEK_CUR))
                break;
            continue;
        }
        if (captured && fread(pcap->frame, captured, 1, pcap->in) != 1)
            break;
        *len = captured;
        return pcap->frame;
    }
    if (pcap->in) {
        fclose(pcap->in);
        pcap->in = NULL;
    }
    return NULL;
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
    if ((order(pcap, header.link) & 0xffff) != LINK_ETHERNET) {
        snprintf(error, size, "%s holds link type %u, not Ethernet", path,
                 order(pcap, header.link) & 0xffff);
        return -1;
    }
    return 0;
}

static int open_output(struct pcap *pcap, const char *path, char *error, size_t size)
{
    struct file_header header = {.magic = MAGIC_NS,
                                 .major = 2,
                                 .minor = 4,
                                 .snaplen = sizeof(pcap->frame),
                                 .link = LINK_ETHERNET};

    pcap->out = fopen(path, "wbe");
    if (!pcap->out || fwrite(&header, sizeof(header), 1, pcap->out) != 1 || fflush(pcap->out)) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

struct uplink *uplink_open_pcap(const char *paths, char *error, size_t size)
{
    const char *comma = strchr(paths, ',');
    struct pcap *pcap = calloc(1, sizeof(*pcap));
    char *input = comma ? strndup(paths, (size_t)(comma - paths)) : strdup(paths);
    int result = -1;

    if (!*paths || strcmp(paths, ",") == 0) {
        snprintf(error, size, "pcap: names no file; write pcap:IN, pcap:IN,OUT or pcap:,OUT");
    } else if (pcap && input) {
        pcap->uplink.ops = &pcap_ops;
        pcap->uplink.patient = true;
        result = *input ? open_input(pcap, input, error, size) : 0;
        if (result == 0 && comma && comma[1])
            result = open_output(pcap, comma + 1, error, size);
    } else {
        snprintf(error, size, "no memory");
    }
    free(input);
    if (result && pcap)
        pcap_close(&pcap->uplink);
    return result ? NULL : &pcap->uplink;
}
