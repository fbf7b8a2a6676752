/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiving eight descriptors at once, as vectors of their 32-bit words: what AVX2 and AVX-512 share. The
 * loop makes every check that the scalar loop makes. A file that includes this header first defines the
 * type `lanes` (a subset of the eight descriptors) with EVERY_LANE and NO_LANE, and struct csum_table;
 * behind the header it defines the functions that are declared here, in which the two differ. */
#ifndef IAVFIO_DRIVER_RECEIVE_WORDS_H
#define IAVFIO_DRIVER_RECEIVE_WORDS_H

#include "driver/simd/rx_loop.h"

#define LANES 8
#define CONSTANT(name) _mm256_set1_epi32((int)pair->constants.name)

/* dw[2k] is the lower half of qw k, dw[2k + 1] the upper half. Lanes of 32 bits take half the registers of
 * lanes of 64, and values that go to columns need no narrowing. */
struct words {
    __m256i dw[8];
};

/* The lanes of `in` for which a comparison holds; at_most compares unsigned numbers. */
INLINE lanes equal(lanes in, __m256i a, __m256i b);
INLINE lanes differ(lanes in, __m256i a, __m256i b);
INLINE lanes at_most(lanes in, __m256i a, __m256i b);
/* The lanes of `in` whose word has any of these bits; the sign bit must not be one of them. */
INLINE lanes has(lanes in, __m256i word, __m256i bits);
INLINE lanes either(lanes a, lanes b);
INLINE uint32_t lane_bits(lanes some);

/* In the given lanes `value`, elsewhere 0; `there` in them and `elsewhere` in the others; `value` with more
 * bits in them. */
INLINE __m256i only(lanes some, __m256i value);
INLINE __m256i choose(lanes some, __m256i there, __m256i elsewhere);
INLINE __m256i with(lanes some, __m256i value, __m256i bits);

/* Store eight rows of a column, whose values fit it. */
INLINE void store_handles(uint64_t *to, __m256i index, __m256i upper);
INLINE void store_u16(uint16_t *to, __m256i value, lanes valid);
INLINE void store_u8(uint8_t *to, __m256i value);

/* good_of[] of eight packet types, in byte 0 of each lane. The other bytes, and the lanes of types from
 * PTYPES_CLASSED on, have undefined content. */
INLINE struct csum_table csum_table_load(const struct queue_pair *pair);
INLINE __m256i csum_table_look(const struct queue_pair *pair, struct csum_table table,
                               __m256i ptype, lanes known);

/* Loads one half (0 or 1) of eight descriptors: row k holds those of descriptors k and k + 4. */
INLINE void halves_load(const struct rx_desc *desc, __m256i row[4], const int half)
{
    const __m128i *at = (const __m128i *)(const void *)desc + half;

    for (int k = 0; k < 4; k++)
        row[k] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at + 2 * k)),
                                         _mm_loadu_si128(at + 2 * (k + 4)), 1);
}

/* The first two words of halves that halves_load loaded. */
INLINE void first_words(const __m256i row[4], __m256i *a, __m256i *b)
{
    __m256i low = _mm256_unpacklo_epi32(row[0], row[1]);
    __m256i high = _mm256_unpacklo_epi32(row[2], row[3]);

    *a = _mm256_unpacklo_epi64(low, high);
    *b = _mm256_unpackhi_epi64(low, high);
}

/* The last two words of such halves. */
INLINE void last_words(const __m256i row[4], __m256i *a, __m256i *b)
{
    __m256i low = _mm256_unpackhi_epi32(row[0], row[1]);
    __m256i high = _mm256_unpackhi_epi32(row[2], row[3]);

    *a = _mm256_unpacklo_epi64(low, high);
    *b = _mm256_unpackhi_epi64(low, high);
}

/* Loads the status words, then the other words that are wanted. The two rounds of loads stay apart and in
 * order (docs/adr/0005): the compiler may not merge or move them, and x86 does not reorder them. */
INLINE void words_load(const struct rx_desc *desc, struct words *w, const int format,
                       const int metadata)
{
    __m256i row[4];

    __asm__ volatile("" ::: "memory");
    halves_load(desc, row, 0);
    last_words(row, &w->dw[2], &w->dw[3]);
    __asm__ volatile("" ::: "memory");
    if (format == FORMAT_LEGACY && metadata == METADATA_NONE)
        return;
    halves_load(desc, row, 0);
    first_words(row, &w->dw[0], &w->dw[1]);
    if (metadata == METADATA_NONE)
        return;
    halves_load(desc, row, 1);
    first_words(row, &w->dw[4], &w->dw[5]);
    if (metadata == METADATA_ALL || format == FORMAT_FLEX_OVS)
        last_words(row, &w->dw[6], &w->dw[7]);
}

/* A field of qw `word` that lies in one half of it. */
INLINE __m256i field(const struct words *w, const int word, const unsigned shift, __m256i mask)
{
    return _mm256_and_si256(_mm256_srli_epi32(w->dw[2 * word + (shift >= 32)], shift & 31), mask);
}

/* What every packet is compared with. These stay in registers, however many constants the columns need. */
struct demands {
    __m256i status, status_good, id, flex, length, one, most;
};

INLINE __m256i length_of(const struct words *w, const struct demands *d, const int format)
{
    return format == FORMAT_LEGACY ? field(w, 1, RXL_LEN_SHIFT, d->length)
                                   : field(w, 0, RXF_LEN_SHIFT, d->length);
}

INLINE lanes lanes_good(const struct words *w, const struct demands *d, __m256i length,
                        const int format)
{
    lanes good = equal(EVERY_LANE, _mm256_and_si256(w->dw[2], d->status), d->status_good);

    if (format != FORMAT_LEGACY)
        good = equal(good, _mm256_and_si256(w->dw[0], d->id), d->flex);
    return at_most(good, _mm256_sub_epi32(length, d->one), d->most);
}

INLINE void store_u32(uint32_t *to, __m256i value, lanes valid)
{
    _mm256_storeu_si256((__m256i *)(void *)to, only(valid, value));
}

/* Packets with an error bit are looked at one by one, from the copies held here. */
static __attribute__((noinline)) void csum_mixed(const struct queue_pair *pair, __m256i dw0,
                                                 __m256i dw2, __m256i dw3, __m256i dw4,
                                                 uint32_t bits, uint8_t *csum, int format)
{
    uint32_t dw[4][LANES];

    _mm256_storeu_si256((__m256i *)(void *)dw[0], dw0);
    _mm256_storeu_si256((__m256i *)(void *)dw[1], dw2);
    _mm256_storeu_si256((__m256i *)(void *)dw[2], dw3);
    _mm256_storeu_si256((__m256i *)(void *)dw[3], dw4);
    for (; bits; bits &= bits - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(bits);
        struct writeback one = {dw[0][i], dw[1][i] | (uint64_t)dw[2][i] << 32, dw[3][i], 0};

        csum[i] =
            format == FORMAT_LEGACY
                ? writeback_csum(pair, &one, writeback_ptype(&one, FORMAT_LEGACY), FORMAT_LEGACY)
                : writeback_csum(pair, &one, writeback_ptype(&one, FORMAT_FLEX), FORMAT_FLEX);
    }
}

/* The table in rows of sixteen types: all plain IPv4 types lie in one row, all plain IPv6 types in
 * another. */
#define ROW_OF(ptype) ((ptype) / 16)

INLINE __m256i row_look(const struct queue_pair *pair, const unsigned row, __m256i ptype)
{
    const __m128i *of = (const __m128i *)(const void *)pair->good_of + row;

    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(of)), ptype);
}

/* Does what csum_table_look does by looking into those two rows: a gather would cost more than all other
 * columns, so it is made only for other types. */
INLINE __m256i rows_look(const struct queue_pair *pair, __m256i ptype, lanes known)
{
    __m256i row = _mm256_srli_epi32(ptype, 4);
    lanes plain4 = equal(EVERY_LANE, row, _mm256_set1_epi32(ROW_OF(PTYPE_IPV4)));
    lanes plain6 = equal(EVERY_LANE, row, _mm256_set1_epi32(ROW_OF(PTYPE_IPV6)));
    __m256i found = _mm256_or_si256(only(plain4, row_look(pair, ROW_OF(PTYPE_IPV4), ptype)),
                                    only(plain6, row_look(pair, ROW_OF(PTYPE_IPV6), ptype)));

    if (unlikely(lane_bits(known) & ~lane_bits(either(plain4, plain6))))
        found =
            _mm256_i32gather_epi32((const int *)(const void *)pair->good_of, only(known, ptype), 1);
    return found;
}

INLINE void columns_csum(const struct queue_pair *pair, struct csum_table table,
                         const struct words *w, __m256i ptype, uint8_t *csum, const int format)
{
    lanes checked = has(EVERY_LANE, w->dw[2], CONSTANT(checked));
    uint32_t mixed = lane_bits(has(checked, w->dw[2], CONSTANT(errors)));
    /* Types beyond the table have no checksum status, as type 0 has none. */
    lanes known = at_most(checked, ptype, CONSTANT(last_classed));
    __m256i good =
        only(known, _mm256_and_si256(csum_table_look(pair, table, ptype, known), CONSTANT(byte)));

    if (format != FORMAT_LEGACY)
        good = with(has(checked, w->dw[4], CONSTANT(nat)), good, CONSTANT(nat_good));
    store_u8(csum, good);
    if (unlikely(mixed))
        csum_mixed(pair, w->dw[0], w->dw[2], w->dw[3], w->dw[4], mixed, csum, format);
}

INLINE __m256i ptypes(const struct queue_pair *pair, const struct words *w, const int format)
{
    __m256i ptype;

    if (format != FORMAT_LEGACY)
        return field(w, 0, RXF_PTYPE_SHIFT, CONSTANT(ptype));
    /* The field lies in both halves of its word. Types that are not known are reported as unknown. */
    ptype = _mm256_or_si256(_mm256_srli_epi32(w->dw[2], RXL_PTYPE_SHIFT),
                            _mm256_slli_epi32(w->dw[3], 32 - RXL_PTYPE_SHIFT));
    ptype = _mm256_and_si256(ptype, CONSTANT(ptype));
    return only(at_most(EVERY_LANE, ptype, CONSTANT(last_ptype)), ptype);
}

/* Fills tags, marks and times of eight rows; returns the flags with theirs added. */
INLINE __m256i columns_rare(const struct queue_pair *pair, const struct columns *c, size_t row,
                            const struct words *w, __m256i flags, const int format, const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    lanes tagged, marked, timed = NO_LANE;
    __m256i tag, mark;

    if (pair->vlan_in_l2tag2) {
        tag = field(w, 2, RXL_QW2_L2TAG2_2_SHIFT, CONSTANT(half));
        tagged = has(EVERY_LANE, w->dw[4], CONSTANT(tag2));
    } else {
        tag = legacy ? field(w, 0, RXL_QW0_L2TAG1_SHIFT, CONSTANT(half))
                     : field(w, 1, RXF_QW1_L2TAG1_SHIFT, CONSTANT(half));
        tagged = has(EVERY_LANE, w->dw[2], CONSTANT(tag1));
    }
    if (legacy) {
        lanes matched = equal(EVERY_LANE, field(w, 1, RXL_FLTSTAT_SHIFT, CONSTANT(fltstat)),
                              CONSTANT(fltstat_id));
        lanes flexible = equal(has(EVERY_LANE, w->dw[2], CONSTANT(flexible)),
                               field(w, 2, 4, CONSTANT(fltstat)), CONSTANT(flexible_id));

        mark = choose(matched, w->dw[1], w->dw[7]);
        marked = either(matched, flexible);
    } else {
        mark = _mm256_and_si256(w->dw[format == FORMAT_FLEX_OVS ? 3 : 6], CONSTANT(mark));
        marked = differ(EVERY_LANE, mark, CONSTANT(no_mark));
    }
    if (full || c->vlan)
        store_u16(c->vlan + row, tag, tagged);
    if (full || c->mark)
        store_u32(c->mark + row, mark, marked);
    flags = with(tagged, flags, CONSTANT(flag_vlan));
    flags = with(marked, flags, CONSTANT(flag_mark));
    if (format == FORMAT_FLEX) {
        timed = has(EVERY_LANE, w->dw[4], CONSTANT(time));
        flags = with(timed, flags, CONSTANT(flag_time));
    }
    if (full || c->time)
        store_u32(c->time + row, w->dw[7], timed);
    return flags;
}

/* Fills eight rows of the columns by the rules of metadata_fill. */
INLINE void columns_fill(const struct queue_pair *pair, struct csum_table table,
                         const struct columns *c, size_t row, const struct words *w,
                         const int format, const int metadata, const int full)
{
    const bool legacy = format == FORMAT_LEGACY;
    __m256i ptype = ptypes(pair, w, format);
    __m256i cast = legacy ? field(w, 1, RXL_UMBCAST_SHIFT, CONSTANT(mirrored))
                          : field(w, 0, RXF_UMBCAST_SHIFT, CONSTANT(mirrored));
    lanes hashed = legacy ? equal(EVERY_LANE, field(w, 1, RXL_FLTSTAT_SHIFT, CONSTANT(fltstat)),
                                  CONSTANT(fltstat_hash))
                          : has(EVERY_LANE, w->dw[2], CONSTANT(hashed));
    __m256i flags;

    /* UMBCAST 1 and 2 shifted are the flags of multicast and broadcast; 3, mirrored, is neither. */
    flags = only(differ(EVERY_LANE, cast, CONSTANT(mirrored)), _mm256_slli_epi32(cast, 4));
    flags = with(hashed, flags, CONSTANT(flag_rss));
    if (full || c->rss)
        store_u32(c->rss + row, w->dw[legacy ? 1 : format == FORMAT_FLEX_OVS ? 6 : 3], hashed);
    if (full || c->ptype)
        store_u16(c->ptype + row, ptype, EVERY_LANE);
    if (full || c->csum)
        columns_csum(pair, table, w, ptype, c->csum + row, format);
    if (metadata == METADATA_ALL)
        flags = columns_rare(pair, c, row, w, flags, format, full);
    if (full || c->flags)
        store_u8(c->flags + row, flags);
}

/* The sum of the lanes, which must be below 2^32. */
INLINE uint32_t total(__m256i sum)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(four);
}

INLINE struct run words_run(struct queue_pair *pair, const struct columns *columns, uint32_t row,
                            uint32_t n, const int format, const int metadata, const int mark,
                            const int full)
{
    const struct columns copy =
        *columns; /* the compiler must know that the stores below do not change it */
    const struct columns *c = &copy;
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    const uint32_t *buffer = pair->rx_sw + pair->rx_next;
    const struct demands d = {CONSTANT(status), CONSTANT(status_good), CONSTANT(id),
                              CONSTANT(flex),   CONSTANT(length),      CONSTANT(one),
                              CONSTANT(most)};
    const __m256i headroom = CONSTANT(headroom);
    const __m256i ordinals = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    uint64_t *to = c->handles + row;
    uint8_t *held = pair->held;
    __m256i sum = _mm256_setzero_si256();
    struct csum_table table;
    size_t i;

    if (metadata != METADATA_NONE)
        table = csum_table_load(pair);
    for (i = 0; i + LANES <= n; i += LANES, desc += LANES) {
        struct words w = {0};
        __m256i length, index, upper;
        uint32_t good;

        words_load(desc, &w, format, metadata);
        length = length_of(&w, &d, format);
        good = lane_bits(lanes_good(&w, &d, length, format));
        index = _mm256_loadu_si256((const __m256i *)(const void *)(buffer + i));
        upper = _mm256_or_si256(_mm256_slli_epi32(length, HANDLE_LENGTH_SHIFT - 32), headroom);
        store_handles(to + i, index, upper);
        if (metadata != METADATA_NONE)
            columns_fill(pair, table, c, row + i, &w, format, metadata, full);
        if (unlikely(good != (1 << LANES) - 1)) {
            uint32_t count = (uint32_t)__builtin_ctz(~good);

            if (mark)
                for (uint32_t k = 0; k < count; k++)
                    mark_held(held, buffer[i + k]);
            sum = _mm256_add_epi32(
                sum, _mm256_and_si256(length,
                                      _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), ordinals)));
            i += count;
            break;
        }
        if (mark)
#pragma GCC unroll 8
            for (uint32_t k = 0; k < LANES; k++)
                mark_held(held, buffer[i + k]);
        sum = _mm256_add_epi32(sum, length);
    }
    return (struct run){(uint32_t)i, total(sum)};
}

#endif
