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
#endif

/* exp(r) - 1 and the two factors of 2^n; two, since n may be more than an exponent holds. */
struct NAME(parts) {
    V less_one, first, second;
};

INLINE struct NAME(parts) NAME(exp_parts)(V x)
{
#if REAL_IS_FLOAT
    const V magic = S(12582912.0), high = S(0x1.62e4p-1), low = S(0x1.7f7d1cp-20);
    const INTEGER bias = 127, mantissa = 23, terms = 7;
    static const REAL inverse[] = {1, 1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720,
                                   1.0f / 5040};
#else
    const V magic = S(6755399441055744.0), high = S(0x1.62e42fefa2p-1), low = S(0x1.9ef35793c7673p-41);
    const INTEGER bias = 1023, mantissa = 52, terms = 13;
    static const REAL inverse[] = {1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040,
                                   1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800,
                                   1.0 / 479001600, 1.0 / 6227020800.0};
#endif
    const V shifted = FMA(x, S(1.4426950408889634), magic);
    const V n = shifted - magic;
    const V r = FMA(-n, low, FMA(-n, high, x));
    V series = S(inverse[terms - 1]);
    for (INTEGER k = terms - 2; k >= 0; k--) {
        series = FMA(series, r, S(inverse[k]));
    }
    const M whole = (M)shifted - (M)magic, half = whole >> 1;
    struct NAME(parts) parts = {r * series, (V)((half + bias) << mantissa),
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
    return FMA(p.less_one, p.first, p.first) * p.second;
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
