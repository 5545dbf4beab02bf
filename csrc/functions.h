/* Elementwise functions by name, each of a vector and two parameters: activations, and the gates of
 * recurrent layers.
 */
#include "elementary.h"

#define FUNCTION(name) INLINE V NAME(name)(V x, V a, V b)
#define UNUSED(x) (void)(x)

FUNCTION(leaky_relu)
{
    UNUSED(b);
    return WHERE_LESS(S(0), x, x, x * a);
}

FUNCTION(hardtanh)
{
    return NAME(larger)(a, NAME(smaller)(b, x));
}

FUNCTION(elu)
{
    UNUSED(b);
    return WHERE_LESS(x, S(0), a * NAME(exponential_less_one)(x), x);
}

FUNCTION(selu)
{
    UNUSED(a), UNUSED(b);
    const double scale = 1.0507009873554804934193349852946;
    const double alpha = 1.6732632423543772848170429916717;
    return WHERE_LESS(x, S(0), S(scale * alpha) * NAME(exponential_less_one)(x), S(scale) * x);
}

FUNCTION(celu)
{
    UNUSED(b);
    return WHERE_LESS(x, S(0), a * NAME(exponential_less_one)(x / a), x);
}

/* exp(-z^2) times a polynomial in (z - K) / (z + K), for z of either sign (Schonfelder: Chebyshev
 * expansions for the error and related functions, 1978). */
INLINE V NAME(error_complement)(V x)
{
#if REAL_IS_FLOAT
    static const double coefficients[] = ERFC_float32;
#else
    static const double coefficients[] = ERFC_float64;
#endif
    const V z = NAME(smaller)(S(REAL_IS_FLOAT ? 12 : 28), NAME(magnitude)(x)), k = S(ERFC_SCALE);
    const V t = (z - k) / (z + k);
    const V far = NAME(exponential)(-z * z) * SERIES(coefficients, t);
    return WHERE_LESS(x, S(0), S(2) - far, far);
}

/* z q(z^2) up to 1, which keeps its digits near zero; beyond that one less erfc. */
FUNCTION(erf)
{
    UNUSED(a), UNUSED(b);
#if REAL_IS_FLOAT
    static const double coefficients[] = ERF_float32;
#else
    static const double coefficients[] = ERF_float64;
#endif
    const V size = NAME(magnitude)(x), z = NAME(smaller)(S(1), size);
    const V near = z * SERIES(coefficients, z * z), far = S(1) - NAME(error_complement)(size);
    return NAME(or_nan)(x, NAME(signed_as)(WHERE_LESS(S(1), size, far, near), x));
}

FUNCTION(exp)
{
    UNUSED(a), UNUSED(b);
    return NAME(exponential)(x);
}

FUNCTION(absolute)
{
    UNUSED(a), UNUSED(b);
    return NAME(magnitude)(x);
}

FUNCTION(negative)
{
    UNUSED(a), UNUSED(b);
    return -x;
}

FUNCTION(reciprocal)
{
    UNUSED(a), UNUSED(b);
    return S(1) / x;
}

FUNCTION(sqrt)
{
    UNUSED(a), UNUSED(b);
    return NAME(root)(x);
}

/* Halves to even: a sum with a number whose last digit is 1 rounds. What is as large is whole. */
FUNCTION(rint)
{
    UNUSED(a), UNUSED(b);
    const V magic = S(REAL_IS_FLOAT ? 8388608.0 : 4503599627370496.0), size = NAME(magnitude)(x);
    const V whole = NAME(held)(size + magic) - magic;
    return WHERE_LESS(size, magic, NAME(signed_as)(whole, x), x);
}

FUNCTION(floor)
{
    const V whole = NAME(rint)(x, a, b);
    return WHERE_LESS(x, whole, whole - S(1), whole);
}

FUNCTION(ceil)
{
    return -NAME(floor)(-x, a, b);
}

FUNCTION(gelu)
{
    UNUSED(a), UNUSED(b);
    return S(0.5) * x * NAME(error_complement)(-x * S(0.70710678118654752440));
}

FUNCTION(gelu_tanh)
{
    UNUSED(a), UNUSED(b);
    const V inner = x + S(0.044715) * x * x * x;
    return x / (S(1) + NAME(exponential)(S(-1.5957691216057307117597842397375) * inner));
}

FUNCTION(silu)
{
    UNUSED(a), UNUSED(b);
    return x / (S(1) + NAME(exponential)(-x));
}

FUNCTION(mish)
{
    /* tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), which is 1 from x = 20 on. */
    UNUSED(a), UNUSED(b);
    const V e = NAME(exponential)(NAME(smaller)(S(20), x)), part = e * (e + S(2));
    return x * (part / (part + S(2)));
}

FUNCTION(hardsigmoid)
{
    UNUSED(a), UNUSED(b);
    const V shifted = x + S(3);
    return NAME(larger)(S(0), NAME(smaller)(S(6), shifted)) / S(6);
}

FUNCTION(hardswish)
{
    return a * (x * NAME(hardsigmoid)(x, a, b)) + b;
}

FUNCTION(sigmoid)
{
    UNUSED(a), UNUSED(b);
    return S(1) / (S(1) + NAME(exponential)(-x));
}

FUNCTION(tanh)
{
    UNUSED(a), UNUSED(b);
    return NAME(hyperbolic_tangent)(x);
}

FUNCTION(softplus)
{
    const V z = a * x, size = NAME(magnitude)(z), above = WHERE_LESS(S(0), z, z, S(0));
    const V smooth = (above + NAME(log_of_more)(NAME(exponential)(-size))) / a;
    return WHERE_LESS(b, z, x, smooth);
}

FUNCTION(softsign)
{
    UNUSED(a), UNUSED(b);
    return x / (S(1) + NAME(magnitude)(x));
}

#undef FUNCTION
#undef UNUSED
