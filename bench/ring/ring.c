/* SPDX-License-Identifier: BSD-3-Clause */
/* Cycles and instructions a packet of drivers on rings in plain memory. One group is a ring size, a
 * burst, a descriptor format and a place where descriptors lie; all backends, instruction sets and
 * metadata sets of a group are measured in interleaved turns. One JSON object a line goes to stdout.
 *
 * Usage: ring [-m] [-t TURNS] [-c CPU,CPU] [-b BACKEND]... RING,BURST,legacy|flex,hot|l3|core[,count] ...
 * count: instructions too (single-stepping takes its time); -m: and their addresses. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "harness.h"

#define WARM 8 /* passes before the timed ones of a turn */
#define INSTANCES 32
#define TURNS_MAX 2000
/* packets over which instructions are counted: whole periods of refill and reap */
#define COUNTED 128

static const char *const location_names[] = {"hot", "l3", "core"};

struct group {
    struct setup setup;
    enum location location;
    bool count; /* instructions too */
    bool mix; /* and where they lie */
};

struct sample {
    uint64_t ticks;
    uint64_t packets; /* of WORK_EMPTY and WORK_NOTHING: calls */
};

static struct sample samples[INSTANCES][WORKS][TURNS_MAX];
static uint64_t instructions[INSTANCES][WORKS];
static uint64_t counted[INSTANCES][WORKS]; /* packets that they are of */

/* What the bench wrote in the device's place must have left the store buffer: a wide load that meets
 * several younger stores would stall, and a card's write-backs never are there. */
static inline uint64_t begin(void)
{
    uint64_t ticks;

    _mm_mfence();
    _mm_lfence();
    ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

static inline uint64_t end(void)
{
    uint32_t id;
    uint64_t ticks = __rdtscp(&id);

    _mm_lfence();
    return ticks;
}

/* ---- measurement ---- */

static bool measured(const struct instance *instance, enum work work, enum location location)
{
    if (!instance->backend->act[work])
        return false;
    return location == LOCATION_HOT || work == WORK_RECEIVE || work == WORK_SEND ||
           work == WORK_FORWARD || work == WORK_NOTHING;
}

static void turn(struct instance *instance, enum work work, enum location location, uint32_t passes,
                 struct sample *sample)
{
    act_fn act = instance->backend->act[work];

    *sample = (struct sample){0};
    for (uint32_t pass = 0; pass < passes + WARM; pass++) {
        uint64_t ticks;
        uint32_t packets;

        pass_before(instance, work, location);
        ticks = begin();
        act(instance);
        ticks = end() - ticks;
        packets = pass_after(instance, work);
        if (pass < WARM)
            continue;
        /* The sum, not the least: reaping and refilling come once in several bursts. */
        sample->ticks += ticks;
        sample->packets += packets;
    }
    if (!sample->packets)
        die("%s %s, %s: nothing moves any more", instance->backend->name, instance->backend->isa,
            work_names[work]);
}

static void print_mix(const struct group *group, const struct instance *instance, enum work work)
{
    printf("{\"mix\": [\"%s\", \"%s\", \"%s\", \"%s\", \"%s\", %u, %u], \"packets\": %u, "
           "\"addresses\": [",
           instance->backend->name, work_names[work], instance->backend->isa,
           group->setup.flex ? "flex" : "legacy", metadata_names[instance->metadata],
           group->setup.entries, group->setup.burst, work == WORK_EMPTY ? 1 : COUNTED);
    step_print(stdout);
    printf("]}\n");
}

static void count_instructions(const struct group *group, struct instance *instance, uint32_t slot)
{
    uint64_t nothing = step_count(instance->backend->act[WORK_NOTHING], instance);

    for (enum work work = 0; work < WORK_NOTHING; work++) {
        uint32_t target = work == WORK_EMPTY ? 1 : COUNTED;

        if (!instance->backend->act[work])
            continue;
        step_forget();
        instructions[slot][work] = counted[slot][work] = 0;
        while (counted[slot][work] < target) {
            pass_before(instance, work, LOCATION_HOT);
            instructions[slot][work] +=
                step_count(instance->backend->act[work], instance) - nothing;
            counted[slot][work] += pass_after(instance, work);
        }
        if (group->mix)
            print_mix(group, instance, work);
    }
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void print_row(const struct group *group, const struct instance *instance, uint32_t slot,
                      enum work work, uint32_t turns, uint32_t passes, double overhead)
{
    static double cycles[TURNS_MAX];

    for (uint32_t i = 0; i < turns; i++) {
        const struct sample *sample = &samples[slot][work][i];

        cycles[i] = ((double)sample->ticks - overhead * passes) / (double)sample->packets;
    }
    qsort(cycles, turns, sizeof(cycles[0]), ascending);
    printf("{\"backend\": \"%s\", \"work\": \"%s\", \"isa\": \"%s\", \"descriptor\": \"%s\", "
           "\"metadata\": \"%s\", \"ring\": %u, \"burst\": %u, \"location\": \"%s\", "
           "\"cycles_best\": %.3f, \"cycles_median\": %.3f, \"instructions\": ",
           instance->backend->name, work_names[work], instance->backend->isa,
           group->setup.flex ? "flex" : "legacy", metadata_names[instance->metadata],
           group->setup.entries, group->setup.burst, location_names[group->location], cycles[0],
           cycles[turns / 2]);
    if (group->count)
        printf("%.2f}\n", (double)instructions[slot][work] / (double)counted[slot][work]);
    else
        printf("null}\n");
}

static struct instance *open_instance(const struct backend *backend, struct setup setup,
                                      enum metadata metadata)
{
    struct instance *instance;

    setup.metadata = metadata;
    instance = backend->open(backend, &setup);
    if (!instance)
        return NULL;
    instance->metadata = metadata;
    instance->burst = setup.burst;
    instance->ask = setup.burst < ASK_FLOOR ? ASK_LEAST : setup.burst;
    return instance;
}

static void run_group(const struct group *group, const struct backend **backends, uint32_t count,
                      uint32_t turns)
{
    struct instance *instances[INSTANCES];
    uint32_t n = 0;
    uint32_t passes = group->setup.burst > 64 ? 16 : group->setup.burst < 8 ? 256 : 64;
    double overhead = 1e9;

    if (group->location == LOCATION_L3) {
        passes = 8;
        turns = turns / 8 + 1;
    }
    for (uint32_t i = 0; i < count; i++)
        for (enum metadata metadata = 0; metadata <= META_SET_ALL && n < INSTANCES; metadata++)
            if ((instances[n] = open_instance(backends[i], group->setup, metadata)) != NULL)
                verify(instances[n++]);
    for (uint32_t t = 0; t < turns; t++)
        for (uint32_t i = 0; i < n; i++)
            for (enum work work = 0; work < WORKS; work++)
                if (measured(instances[i], work, group->location))
                    turn(instances[i], work, group->location, passes, &samples[i][work][t]);
    for (uint32_t i = 0; i < n; i++) {
        if (group->count)
            count_instructions(group, instances[i], i);
        for (uint32_t t = 0; t < turns; t++) {
            double each = (double)samples[i][WORK_NOTHING][t].ticks / passes;

            overhead = each < overhead ? each : overhead;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        for (enum work work = 0; work < WORK_NOTHING; work++)
            if (measured(instances[i], work, group->location))
                print_row(group, instances[i], i, work, turns, passes, overhead);
    fflush(stdout);
    while (n--)
        instances[n]->backend->close(instances[n]);
}

/* ---- command line ---- */

static void parse_group(const char *text, struct group *group)
{
    char format[8], location[8], count[8];
    int fields;

    memset(group, 0, sizeof(*group));
    fields = sscanf(text, "%u,%u,%7[a-z],%7[a-z0-9],%7[a-z]", &group->setup.entries,
                    &group->setup.burst, format, location, count);
    group->count = fields == 5 && !strcmp(count, "count");
    if (fields != 4 && !group->count)
        die("%s is no RING,BURST,FORMAT,LOCATION[,count]", text);
    if (!strcmp(format, "flex"))
        group->setup.flex = RXDID_COMMS_OVS_1;
    else if (strcmp(format, "legacy"))
        die("%s: the format is legacy or flex", text);
    while (strcmp(location, location_names[group->location]))
        if (++group->location > LOCATION_CORE)
            die("%s: the location is hot, l3 or core", text);
    if (group->setup.entries < RING_MIN || group->setup.entries > 4096 ||
        group->setup.entries & (group->setup.entries - 1))
        die("%s: rings are powers of two, 64 to 4096", text);
    if (!group->setup.burst || group->setup.burst > BURST_MAX ||
        group->setup.burst > group->setup.entries / 2)
        die("%s: bursts are 1 to 256 and at most half a ring", text);
}

static bool wanted(const struct backend *backend, char *const *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(names[i], backend->name))
            return true;
    return !count;
}

static uint32_t collect(const struct backend **out, uint32_t n, const struct backend *from,
                        uint32_t count, char *const *names, uint32_t named)
{
    for (uint32_t i = 0; i < count; i++)
        if (wanted(&from[i], names, named) && (named || !from[i].apart) && from[i].usable(&from[i]))
            out[n++] = &from[i];
    return n;
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        die("CPU %d cannot be used", cpu);
}

int main(int argc, char **argv)
{
    const struct backend *backends[16];
    char *names[8];
    uint32_t named = 0, count = 0, turns = 100;
    int cpu[2] = {0, 1};
    bool mix = false;
    int option;
    struct group group;

    while ((option = getopt(argc, argv, "mt:c:b:")) != -1) {
        if (option == 'm')
            mix = true;
        else if (option == 't')
            turns = (uint32_t)atoi(optarg);
        else if (option == 'b' && named < 8)
            names[named++] = optarg;
        else if (option != 'c' || sscanf(optarg, "%d,%d", &cpu[0], &cpu[1]) != 2)
            die("usage: ring [-m] [-t TURNS] [-c CPU,CPU] [-b BACKEND]... GROUP...");
    }
    if (!turns || turns > TURNS_MAX)
        die("1 to %d turns", TURNS_MAX);
    for (int i = optind; i < argc; i++)
        parse_group(argv[i], &group);
    pin(cpu[0]);
#ifdef WITH_DPDK
    const char *why = dpdk_start(cpu[0]);

    if (why)
        die("dpdk: %s", why);
    printf("{\"dpdk\": \"%s\"}\n", dpdk_version());
    count = collect(backends, count, dpdk_backends, dpdk_count, names, named);
#endif
    count = collect(backends, count, iavfio_backends, iavfio_count, names, named);
    pass_start();
    for (int i = optind; i < argc; i++) {
        parse_group(argv[i], &group);
        group.mix = mix;
        if (group.location == LOCATION_CORE)
            helper_start(cpu[1]);
        run_group(&group, backends, count, turns);
        helper_stop();
    }
    return 0;
}
