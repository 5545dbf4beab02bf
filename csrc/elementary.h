/* exp and its kin in plain arithmetic.
 *
 * exp(x) = 2^n exp(r) with abs(r) <= ln 2 / 2 (Cody, Waite: Software manual for the elementary
 * functions, 1980); nothing branches. Errors are a few units in the last place; NaN and infinities
 * come out as they should.
 */

#ifndef S
#define S(x) NAME(splat)((REAL)(x))
#define WHERE_LESS NAME(where_less)
#define FMA NAME(multiply_add)
#define SERIES(coefficients, x)                                                                    \
    NAME(series)(coefficients, (int)(sizeof coefficients / sizeof coefficients[0]), x)
#endif

/* A polynomial by its coefficients, highest first. */
INLINE V NAME(series)(const double *coefficients, const int count, V x)
{
    V sum = S(coefficients[0]);
    UNROLL for (int i = 1; i < count; i++) {
        sum = FMA(sum, x, S(coefficients[i]));
    }
    return sum;
}

/* exp(r) - 1, n, and the two factors of 2^n; two, since n may be more than an exponent holds. */
struct NAME(parts) {
    V less_one, n, first, second;
};

INLINE struct NAME(parts) NAME(exp_parts)(V x)
{
#if REAL_IS_FLOAT
    const V magic = S(12582912.0), high = S(0x1.62e4p-1), low = S(0x1.7f7d1cp-20);
    const INTEGER bias = 127, mantissa = 23;
    static const double rest[] = EXP_float32;
#else
    const V magic = S(6755399441055744.0), high = S(0x1.62e42fefa2p-1), low = S(0x1.9ef35793c7673p-41);
    const INTEGER bias = 1023, mantissa = 52;
    static const double rest[] = EXP_float64;
#endif
    const V shifted = FMA(x, S(1.4426950408889634), magic);
    const V n = shifted - magic;
    const V r = FMA(-n, low, FMA(-n, high, x));
    const M whole = (M)shifted - (M)magic, half = whole >> 1;
    struct NAME(parts) parts = {FMA(SERIES(rest, r), r * r, r), n, (V)((half + bias) << mantissa),
                                (V)((whole - half + bias) << mantissa)};
    return parts;
}

INLINE V NAME(clamped)(V x, double low, double high)
{
    return NAME(smaller)(S(high), NAME(larger)(S(low), x));
}

INLINE V NAME(exponential)(V x)
{
    const struct NAME(parts) p =
        NAME(exp_parts)(REAL_IS_FLOAT ? NAME(clamped)(x, -110, 95) : NAME(clamped)(x, -760, 720));
#if HAS_AVX512
    return MM(_mm512_scalef_)(p.less_one + S(1), p.n);
#else
    return FMA(p.less_one, p.first, p.first) * p.second;
#endif
}

/* exp(x) - 1, exact near zero too. */
INLINE V NAME(exponential_less_one)(V x)
{
    const struct NAME(parts) p =
        NAME(exp_parts)(REAL_IS_FLOAT ? NAME(clamped)(x, -30, 95) : NAME(clamped)(x, -60, 720));
    const V power = p.first * p.second;
    const V large = ((p.less_one + S(1)) * p.first) * p.second - S(1);
    return WHERE_LESS(S(1), x, large, power * p.less_one + (power - S(1)));
}

/* With abs(x) = n ln 2 / 2 + r, s = 2^n and w = tanh(r): ((s - 1) + (s + 1) w) /
 * ((s + 1) + (s - 1) w). No difference in it loses digits: what is off is three roundings. */
INLINE V NAME(hyperbolic_tangent)(V x)
{
#if REAL_IS_FLOAT
    const V magic = S(12582912.0 + 127);
    const INTEGER mantissa = 23;
    static const double rest[] = TANH_float32;
#else
    const V magic = S(6755399441055744.0 + 1023);
    const INTEGER mantissa = 52;
    static const double rest[] = TANH_float64;
#endif
    /* From here on the result is 1. */
    const V size = NAME(smaller)(S(REAL_IS_FLOAT ? 10 : 20), NAME(magnitude)(x));
    const V shifted = FMA(size, S(2.8853900817779268), magic);
    /* The product is exact for n = 0; where it is not, r matters less than s. */
    const V r = FMA(magic - shifted, S(0.34657359027997265), size);
    const V s = (V)((M)shifted << mantissa);
    const V square = r * r, w = FMA(SERIES(rest, square), r * square, r);
    const V less = s - S(1), more = s + S(1);
    return NAME(signed_as)(FMA(more, w, less) / FMA(less, w, more), x);
}

/* log(1 + x) for 0 <= x <= 1: twice the inverse hyperbolic tangent of x / (2 + x). */
INLINE V NAME(log_of_more)(V x)
{
    const V s = x / (S(2) + x), square = s * s;
    const int terms = REAL_IS_FLOAT ? 8 : 17;
    V series = S(2.0 / (2 * terms + 1));
    for (int k = terms - 1; k >= 0; k--) {
        series = FMA(series, square, S(2.0 / (2 * k + 1)));
    }
    return s * series;
}
