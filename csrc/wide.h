/* Doubles whatever REAL is: for kernels that sum in them. Besides simd.h, the one place that names
 * intrinsics.
 */

#ifndef WIDE
/* What there is of doubles, their vectors, and how many of those hold a vector of REALs. */
#define WIDE(x) JOIN(x, float64, ISA)
#define WIDE_LANES ((int64_t)(VECTOR_BYTES / sizeof(double)))
#define W WIDE(vector)
#define PARTS ((int)(sizeof(double) / sizeof(REAL)))
#endif

/* As many REALs as a vector holds doubles, in doubles; and a part of a vector of REALs. */
#if !REAL_IS_FLOAT
INLINE W NAME(load_wide)(const REAL *p)
{
    return NAME(load)(p);
}
INLINE W NAME(load_wide_first)(const REAL *p, int64_t n, W fill)
{
    return NAME(load_first)(p, n, fill);
}
INLINE void NAME(store_wide)(REAL *p, W w)
{
    NAME(store)(p, w);
}
INLINE void NAME(store_wide_first)(REAL *p, int64_t n, W w)
{
    NAME(store_first)(p, n, w);
}
INLINE W NAME(widened)(V v, int part)
{
    (void)part;
    return v;
}
#elif HAS_AVX512
#define FIRST(n) (__mmask8)((n) >= WIDE_LANES ? ~0u : (1u << (n)) - 1u)
INLINE W NAME(load_wide)(const REAL *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
INLINE W NAME(load_wide_first)(const REAL *p, int64_t n, W fill)
{
    return _mm512_mask_cvtps_pd(fill, FIRST(n), _mm256_maskz_loadu_ps(FIRST(n), p));
}
INLINE void NAME(store_wide)(REAL *p, W w)
{
    _mm256_storeu_ps(p, _mm512_cvtpd_ps(w));
}
INLINE void NAME(store_wide_first)(REAL *p, int64_t n, W w)
{
    _mm256_mask_storeu_ps(p, FIRST(n), _mm512_cvtpd_ps(w));
}
INLINE W NAME(widened)(V v, int part)
{
    return _mm512_cvtps_pd(part == 0 ? _mm512_castps512_ps256(v) : _mm512_extractf32x8_ps(v, 1));
}
#undef FIRST
#else
#if HAS_AVX2
INLINE W NAME(load_wide)(const REAL *p)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
}
INLINE __m128i NAME(first_wide)(int64_t n)
{
    return _mm_cmplt_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32((int)lesser(n, WIDE_LANES)));
}
INLINE W NAME(load_wide_first)(const REAL *p, int64_t n, W fill)
{
    const __m128i first = NAME(first_wide)(n);
    const W values = _mm256_cvtps_pd(_mm_maskload_ps(p, first));
    return _mm256_blendv_pd(fill, values, (W)_mm256_cvtepi32_epi64(first));
}
INLINE void NAME(store_wide_first)(REAL *p, int64_t n, W w)
{
    _mm_maskstore_ps(p, NAME(first_wide)(n), _mm256_cvtpd_ps(w));
}
INLINE void NAME(store_wide)(REAL *p, W w)
{
    _mm_storeu_ps(p, _mm256_cvtpd_ps(w));
}
INLINE W NAME(widened)(V v, int part)
{
    return _mm256_cvtps_pd(part == 0 ? _mm256_castps256_ps128(v) : _mm256_extractf128_ps(v, 1));
}
#else
INLINE W NAME(load_wide)(const REAL *p)
{
    return (W){(double)p[0], (double)p[1]};
}
INLINE W NAME(load_wide_first)(const REAL *p, int64_t n, W fill)
{
    return n >= 2 ? NAME(load_wide)(p) : (W){n == 1 ? (double)p[0] : fill[0], fill[1]};
}
INLINE void NAME(store_wide)(REAL *p, W w)
{
    p[0] = (REAL)w[0], p[1] = (REAL)w[1];
}
INLINE void NAME(store_wide_first)(REAL *p, int64_t n, W w)
{
    for (int64_t i = 0; i < WIDE_LANES && i < n; i++) {
        p[i] = (REAL)w[i];
    }
}
INLINE W NAME(widened)(V v, int part)
{
    return (W){(double)v[2 * part], (double)v[2 * part + 1]};
}
#endif
#endif
INLINE W NAME(load_wide_some)(const REAL *p, int64_t n, W fill)
{
    return n >= WIDE_LANES ? NAME(load_wide)(p) : NAME(load_wide_first)(p, n, fill);
}
INLINE void NAME(store_wide_some)(REAL *p, int64_t n, W w)
{
    if (n >= WIDE_LANES) {
        NAME(store_wide)(p, w);
    } else {
        NAME(store_wide_first)(p, n, w);
    }
}
