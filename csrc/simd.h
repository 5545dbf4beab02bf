/* Vectors of REAL at the instruction set ISA: with wide.h the only place that names
 * intrinsics.
 *
 * Included once for each pair of them, with REAL_IS_FLOAT 1 or 0; NAME(x) makes x_float32_avx512.
 * Loads and stores need no alignment beyond the element's.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef LANES
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define V NAME(vector)
#define U NAME(unaligned)
#define M NAME(integers)
/* Intrinsics of both element types: their names end in ps or pd, some in a word after that. */
#define MM_(name, suffix) name##suffix
#define MM__(name, suffix) MM_(name, suffix)
#define MM(name) MM__(name, SUFFIX)
#define MASK_OF_(name, suffix) name##suffix##_mask
#define MASK_OF__(name, suffix) MASK_OF_(name, suffix)
#define MASK_OF(name) MASK_OF__(name, SUFFIX)
#define LANES_2(f, x, i) f(x, i), f(x, i + 1)
#define LANES_4(f, x, i) LANES_2(f, x, i), LANES_2(f, x, i + 2)
#define LANES_8(f, x, i) LANES_4(f, x, i), LANES_4(f, x, i + 4)
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (M){__VA_ARGS__})
#endif
/* Loops whose bounds are constants where they are inlined: what they index has no address then. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#define ROLLED _Pragma("GCC unroll 1")
#endif
#endif

/* Shuffles take their places when they are compiled: EACH_LANE(f, x) is f(x, 0), f(x, 1), ... for
 * all lanes; places from LANE_COUNT on are the second vector's. */
#undef LANE_COUNT
#undef EACH_LANE
#if VECTOR_BYTES == 16 && !REAL_IS_FLOAT
#define LANE_COUNT 2
#define EACH_LANE(f, x) LANES_2(f, x, 0)
#elif VECTOR_BYTES == 16 || (VECTOR_BYTES == 32 && !REAL_IS_FLOAT)
#define LANE_COUNT 4
#define EACH_LANE(f, x) LANES_4(f, x, 0)
#elif VECTOR_BYTES == 32 || !REAL_IS_FLOAT
#define LANE_COUNT 8
#define EACH_LANE(f, x) LANES_8(f, x, 0)
#else
#define LANE_COUNT 16
#define EACH_LANE(f, x) LANES_8(f, x, 0), LANES_8(f, x, 8)
#endif

#define OWN_PLACE(x, i) (i)
typedef REAL V __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL U __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef INTEGER M __attribute__((vector_size(VECTOR_BYTES)));

INLINE V NAME(load)(const REAL *p)
{
    return *(const U *)p;
}

/* A value that is used more than once: gcc would read it from memory again each time. */
INLINE V NAME(held)(V v)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#endif
    return v;
}

INLINE void NAME(store)(REAL *p, V v)
{
    *(U *)p = v;
}

INLINE V NAME(splat)(REAL x)
{
    return x - (V){0};
}

#if HAS_AVX512

/* Of 16 or 8 lanes, the first n: none below 1 (and above -2^31), and nothing branches. */
#if REAL_IS_FLOAT
#define FIRST(n)                                                                                   \
    _mm512_cmplt_epi32_mask((__m512i)(M){EACH_LANE(OWN_PLACE, 0)},                                 \
                            _mm512_set1_epi32((int)lesser(n, LANES)))
#else
#define FIRST(n)                                                                                   \
    _mm512_cmplt_epi64_mask((__m512i)(M){EACH_LANE(OWN_PLACE, 0)}, _mm512_set1_epi64(n))
#endif

INLINE V NAME(load_first)(const REAL *p, int64_t n, V fill)
{
    return MM(_mm512_mask_loadu_)(fill, FIRST(n), p);
}
INLINE void NAME(store_first)(REAL *p, int64_t n, V v)
{
    MM(_mm512_mask_storeu_)(p, FIRST(n), v);
}
/* Lanes `from` to `to` - 1, any numbers, and a load of some lanes: zeros in the others, which are
 * not read. */
typedef LANE_MASK NAME(lanes);
INLINE NAME(lanes) NAME(between)(int64_t from, int64_t to)
{
    const __m512i count = _mm512_set1_epi64(greater(to - from, 0));
    const __m512i numbers = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places = _mm512_sub_epi64(numbers, _mm512_set1_epi64(from));
    const __mmask8 low = _mm512_cmplt_epu64_mask(places, count);
#if REAL_IS_FLOAT
    const __m512i more = _mm512_add_epi64(places, _mm512_set1_epi64(8));
    return _mm512_kunpackb(_mm512_cmplt_epu64_mask(more, count), low);
#else
    return low;
#endif
}
INLINE V NAME(load_lanes)(const REAL *p, NAME(lanes) lanes)
{
    return MM(_mm512_maskz_loadu_)(lanes, p);
}
/* The larger, or the smaller, of two; the second where either is NaN. */
INLINE V NAME(larger)(V a, V b)
{
    return MM(_mm512_max_)(a, b);
}
INLINE V NAME(smaller)(V a, V b)
{
    return MM(_mm512_min_)(a, b);
}
INLINE V NAME(or_nan)(V nan, V v)
{
    /* By the kind of its first operand: NaN comes through (response 2), else the other one (0). */
    return MM(_mm512_fixupimm_)(v, nan, (__m512i)((M){0} + 0x22), 0);
}
INLINE V NAME(where_less)(V x, V y, V yes, V no)
{
    return MM(_mm512_mask_mov_)(no, MASK_OF(_mm512_cmp_)(x, y, _CMP_LT_OQ), yes);
}
/* Lanes that a condition holds for: v > most, or NaN where that is a number; v == most, or NaN;
 * a < b. */
typedef LANE_MASK NAME(mask);
INLINE NAME(mask) NAME(above)(V v, V most)
{
    return MASK_OF(_mm512_mask_cmp_)(MASK_OF(_mm512_cmp_)(most, most, _CMP_ORD_Q), v, most,
                                     _CMP_NLE_UQ);
}
INLINE NAME(mask) NAME(as_large)(V v, V most)
{
    return (NAME(mask))(MASK_OF(_mm512_cmp_)(v, most, _CMP_EQ_OQ) |
                        MASK_OF(_mm512_cmp_)(v, v, _CMP_UNORD_Q));
}
/* Lanes where either is NaN, and whether there are any. */
INLINE NAME(mask) NAME(unordered)(V a, V b)
{
    return MASK_OF(_mm512_cmp_)(a, b, _CMP_UNORD_Q);
}
INLINE int NAME(any)(NAME(mask) mask)
{
    return mask != 0;
}
INLINE NAME(mask) NAME(earlier)(M a, M b)
{
#if REAL_IS_FLOAT
    return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
#else
    return _mm512_cmplt_epi64_mask((__m512i)a, (__m512i)b);
#endif
}
INLINE V NAME(chosen)(NAME(mask) mask, V yes, V no)
{
    return MM(_mm512_mask_mov_)(no, mask, yes);
}
INLINE V NAME(root)(V v)
{
    return MM(_mm512_sqrt_)(v);
}
INLINE V NAME(multiply_add)(V a, V b, V c)
{
    return MM(_mm512_fmadd_)(a, b, c);
}
#undef FIRST
/* The elements of a line at places; zeros at negative ones. */
INLINE V NAME(load_at)(const REAL *line, const int64_t *places)
{
    const __m512i zero = _mm512_setzero_si512(), low = _mm512_loadu_si512(places);
    const __mmask8 in_low = _mm512_cmpge_epi64_mask(low, zero);
#if REAL_IS_FLOAT
    const __m512i high = _mm512_loadu_si512(places + LANES / 2);
    const __mmask8 in_high = _mm512_cmpge_epi64_mask(high, zero);
    const __m256 none = _mm256_setzero_ps();
    const __m256 first = _mm512_mask_i64gather_ps(none, in_low, low, line, 4);
    const __m256 second = _mm512_mask_i64gather_ps(none, in_high, high, line, 4);
    return _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1);
#else
    return _mm512_mask_i64gather_pd(_mm512_setzero_pd(), in_low, low, line, 8);
#endif
}

#else /* masks are vectors */

typedef M NAME(lanes);
/* All bits of the first n lanes. */
INLINE M NAME(first)(int64_t n)
{
    const M places = {EACH_LANE(OWN_PLACE, 0)}, none = {0};
    return places < none + (INTEGER)lesser(greater(n, 0), LANES);
}
INLINE NAME(lanes) NAME(between)(int64_t from, int64_t to)
{
    return NAME(first)(to) & ~NAME(first)(from);
}

#if HAS_AVX2

INLINE V NAME(load_first)(const REAL *p, int64_t n, V fill)
{
    const M inside = NAME(first)(n);
    return MM(_mm256_blendv_)(fill, MM(_mm256_maskload_)(p, (__m256i)inside), (V)inside);
}
INLINE void NAME(store_first)(REAL *p, int64_t n, V v)
{
    /* By halves: AMD's masked stores take dozens of cycles. */
    const int64_t bytes = greater(n, 0) * (int64_t)sizeof(REAL);
    char *to = (char *)p;
    __m128i rest = _mm256_castsi256_si128((__m256i)v);
    if (n >= LANES) {
        NAME(store)(p, v);
        return;
    }
    if (bytes & 16) {
        _mm_storeu_si128((__m128i *)to, rest);
        rest = _mm256_extracti128_si256((__m256i)v, 1);
        to += 16;
    }
    if (bytes & 8) {
        _mm_storel_epi64((__m128i *)to, rest);
        rest = _mm_unpackhi_epi64(rest, rest);
        to += 8;
    }
    if (bytes & 4) {
        const int32_t last = _mm_cvtsi128_si32(rest);
        memcpy(to, &last, sizeof last);
    }
}
INLINE V NAME(load_lanes)(const REAL *p, NAME(lanes) lanes)
{
    return MM(_mm256_maskload_)(p, (__m256i)lanes);
}
INLINE V NAME(chosen)(M mask, V yes, V no)
{
    return MM(_mm256_blendv_)(no, yes, (V)mask);
}
INLINE V NAME(larger)(V a, V b)
{
    return MM(_mm256_max_)(a, b);
}
INLINE V NAME(smaller)(V a, V b)
{
    return MM(_mm256_min_)(a, b);
}
INLINE V NAME(or_nan)(V nan, V v)
{
    return MM(_mm256_blendv_)(v, nan, MM(_mm256_cmp_)(nan, nan, _CMP_UNORD_Q));
}
INLINE M NAME(unordered)(V a, V b)
{
    return (M)MM(_mm256_cmp_)(a, b, _CMP_UNORD_Q);
}
INLINE int NAME(any)(M mask)
{
    return MM(_mm256_movemask_)((V)mask) != 0;
}
INLINE V NAME(where_less)(V x, V y, V yes, V no)
{
    return MM(_mm256_blendv_)(no, yes, MM(_mm256_cmp_)(x, y, _CMP_LT_OQ));
}
INLINE V NAME(root)(V v)
{
    return MM(_mm256_sqrt_)(v);
}
INLINE V NAME(multiply_add)(V a, V b, V c)
{
    return MM(_mm256_fmadd_)(a, b, c);
}

#else /* any machine: vector extensions alone */

INLINE V NAME(load_lanes)(const REAL *p, NAME(lanes) lanes)
{
    V loaded = {0};
    for (int64_t i = 0; i < LANES; i++) {
        loaded[i] = lanes[i] ? p[i] : 0;
    }
    return loaded;
}
INLINE V NAME(load_first)(const REAL *p, int64_t n, V fill)
{
    REAL lanes[LANE_COUNT];
    NAME(store)(lanes, fill);
    for (int64_t i = 0; i < LANES && i < n; i++) {
        lanes[i] = p[i];
    }
    return NAME(load)(lanes);
}
INLINE void NAME(store_first)(REAL *p, int64_t n, V v)
{
    for (int64_t i = 0; i < LANES && i < n; i++) {
        p[i] = v[i];
    }
}
INLINE V NAME(chosen)(M mask, V yes, V no)
{
    return (V)((mask & (M)yes) | (~mask & (M)no));
}
INLINE V NAME(where_less)(V x, V y, V yes, V no)
{
    return NAME(chosen)(x < y, yes, no);
}
INLINE V NAME(larger)(V a, V b)
{
    return NAME(where_less)(b, a, a, b);
}
INLINE V NAME(smaller)(V a, V b)
{
    return NAME(where_less)(a, b, a, b);
}
INLINE V NAME(or_nan)(V nan, V v)
{
    const M mask = nan == nan;
    return (V)((mask & (M)v) | (~mask & (M)nan));
}
INLINE M NAME(unordered)(V a, V b)
{
    return (a != a) | (b != b);
}
INLINE int NAME(any)(M mask)
{
    INTEGER found = 0;
    for (int64_t i = 0; i < LANES; i++) {
        found |= mask[i];
    }
    return found != 0;
}
INLINE V NAME(root)(V v)
{
    for (int64_t i = 0; i < LANES; i++) {
        v[i] = REAL_IS_FLOAT ? (REAL)sqrtf((float)v[i]) : (REAL)sqrt((double)v[i]);
    }
    return v;
}
INLINE V NAME(multiply_add)(V a, V b, V c)
{
    return a * b + c;
}

#endif
#endif

INLINE int NAME(any_nan)(V a, V b)
{
    return NAME(any)(NAME(unordered)(a, b));
}

INLINE V NAME(load_between)(const REAL *p, int64_t from, int64_t to)
{
    return NAME(load_lanes)(p, NAME(between)(from, to));
}

/* The first n lanes, and zeros. */
INLINE V NAME(only_first)(int64_t n, V v)
{
#if HAS_AVX512
    return MM(_mm512_maskz_mov_)(NAME(between)(0, n), v);
#else
    return (V)(NAME(between)(0, n) & (M)v);
#endif
}

/* A vector, or what is left where n elements are. */
INLINE V NAME(load_some)(const REAL *p, int64_t n, V fill)
{
    return n >= LANES ? NAME(load)(p) : NAME(load_first)(p, n, fill);
}
INLINE void NAME(store_some)(REAL *p, int64_t n, V v)
{
    if (n >= LANES) {
        NAME(store)(p, v);
    } else {
        NAME(store_first)(p, n, v);
    }
}

INLINE V NAME(magnitude)(V v)
{
    const M none = {0};
    return (V)((M)v & (none + INTEGER_MAX));
}

/* The size of one and the sign of another; the first is not negative. */
INLINE V NAME(signed_as)(V size, V sign)
{
    const M none = {0};
    return (V)((M)size | ((M)sign & ~(none + INTEGER_MAX)));
}

#if !HAS_AVX512
typedef M NAME(mask);
INLINE NAME(mask) NAME(above)(V v, V most)
{
    return ~(v <= most) & (most == most);
}
INLINE NAME(mask) NAME(as_large)(V v, V most)
{
    return (v == most) | (v != v);
}
INLINE NAME(mask) NAME(earlier)(M a, M b)
{
    return a < b;
}
#endif

#if !REAL_IS_FLOAT
/* As many floats as a vector has doubles: the half of one. */
typedef float NAME(floats) __attribute__((vector_size(VECTOR_BYTES / 2), aligned(4), may_alias));
INLINE V NAME(load_floats)(const float *p)
{
    return __builtin_convertvector(*(const NAME(floats) *)p, V);
}
INLINE void NAME(store_floats)(float *p, V v)
{
    *(NAME(floats) *)p = __builtin_convertvector(v, NAME(floats));
}
#endif

#if REAL_IS_FLOAT
/* Two vectors of doubles as one of floats. */
INLINE V NAME(narrowed)(JOIN(vector, float64, ISA) low, JOIN(vector, float64, ISA) high)
{
#if HAS_AVX512
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high),
                              1);
#elif HAS_AVX2
    return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
#else
    V narrow = {0};
    for (int64_t i = 0; i < LANES / 2; i++) {
        narrow[i] = (REAL)low[i];
        narrow[i + LANES / 2] = (REAL)high[i];
    }
    return narrow;
#endif
}
#endif

#define EVEN_PLACE(x, i) (2 * (i) + (x))

/* Every second element of two vectors laid end to end. */
INLINE V NAME(evens)(V a, V b)
{
    return SHUFFLE(a, b, EACH_LANE(EVEN_PLACE, 0));
}
INLINE V NAME(odds)(V a, V b)
{
    return SHUFFLE(a, b, EACH_LANE(EVEN_PLACE, 1));
}

/* Elements 0, step, 2 step, ... of the memory at p: one a lane. Reads whole vectors from p on. */
INLINE V NAME(every)(const REAL *p, int64_t step)
{
#if HAS_AVX2
    if (step == 2) {
        return NAME(evens)(NAME(load)(p), NAME(load)(p + LANES));
    }
#endif
    REAL lanes[LANE_COUNT];
    for (int64_t i = 0; i < LANES; i++) {
        lanes[i] = p[i * step];
    }
    return NAME(load)(lanes);
}

INLINE M NAME(load_places)(const INTEGER *places)
{
    M loaded;
    memcpy(&loaded, places, sizeof loaded);
    return loaded;
}

/* Elements of a and b by number, those of b from LANES on. */
INLINE V NAME(picked)(V a, V b, M which)
{
#if defined(__GNUC__) && !defined(__clang__)
    return __builtin_shuffle(a, b, which);
#else
    V picked;
    for (int64_t i = 0; i < LANES; i++) {
        picked[i] = which[i] < (INTEGER)LANES ? a[which[i]] : b[which[i] - (INTEGER)LANES];
    }
    return picked;
#endif
}

/* Elements phase, phase + step, ... of `step` vectors laid end to end. Shuffles are known when they
 * are compiled, where step and phase are. */
INLINE V NAME(every_of)(const V *vectors, int step, int phase)
{
    V merged = vectors[0];
    UNROLL for (int v = 1; v < step; v++) {
        M which = {0};
        UNROLL for (int i = 0; i < LANES; i++) {
            const int lanes = (int)LANES, place = step * i + phase;
            const int own = v == 1 ? place % lanes : i;
            which[i] = place / lanes == v ? lanes + place % lanes : own;
        }
        merged = NAME(picked)(merged, vectors[v], which);
    }
    return merged;
}

/* Turn a square of LANES vectors: rows become columns. In log2(LANES) rounds, each swapping blocks
 * of two rows. */
#define UPPER_PLACE(distance, i) ((i) & (distance) ? LANE_COUNT + (i) - (distance) : (i))
#define LOWER_PLACE(distance, i) ((i) & (distance) ? LANE_COUNT + (i) : (i) + (distance))
#define SWAP_BLOCKS(distance)                                                                      \
    UNROLL for (int i = 0; i < LANE_COUNT; i++) {                                                  \
        if (!(i & (distance))) {                                                                   \
            const V a = rows[i], b = rows[i + (distance)];                                         \
            rows[i] = SHUFFLE(a, b, EACH_LANE(UPPER_PLACE, distance));                             \
            rows[i + (distance)] = SHUFFLE(a, b, EACH_LANE(LOWER_PLACE, distance));                \
        }                                                                                          \
    }
INLINE void NAME(transpose)(V *rows)
{
    SWAP_BLOCKS(1)
#if LANE_COUNT > 2
    SWAP_BLOCKS(2)
#endif
#if LANE_COUNT > 4
    SWAP_BLOCKS(4)
#endif
#if LANE_COUNT > 8
    SWAP_BLOCKS(8)
#endif
}
#undef UPPER_PLACE
#undef LOWER_PLACE
#undef SWAP_BLOCKS
#undef EVEN_PLACE
#undef OWN_PLACE

/* Bring all lanes together, by halves. */
#define ACROSS(distance, i) ((i) ^ (distance))
#define CROSSED(v, distance) SHUFFLE(v, v, EACH_LANE(ACROSS, distance))
INLINE REAL NAME(sum_of_lanes)(V v)
{
#if LANE_COUNT > 8
    v += CROSSED(v, 8);
#endif
#if LANE_COUNT > 4
    v += CROSSED(v, 4);
#endif
#if LANE_COUNT > 2
    v += CROSSED(v, 2);
#endif
    return (v + CROSSED(v, 1))[0];
}
/* Of lanes without NaN. */
INLINE REAL NAME(largest_lane)(V v)
{
#if LANE_COUNT > 8
    v = NAME(larger)(v, CROSSED(v, 8));
#endif
#if LANE_COUNT > 4
    v = NAME(larger)(v, CROSSED(v, 4));
#endif
#if LANE_COUNT > 2
    v = NAME(larger)(v, CROSSED(v, 2));
#endif
    return NAME(larger)(v, CROSSED(v, 1))[0];
}
#undef ACROSS
#undef CROSSED
