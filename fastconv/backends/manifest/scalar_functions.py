"""Functions of one number, each written once: elementary ones, activations and rounding.

They are expressions over a `Vocabulary`, which prints them as C (csrc/functions.py) or emits them
as LLVM's instructions (backends/numba/elementary.py), operation for operation, so that a function
has the same bits in vectors and in what is left over of an array. Nothing branches. Errors of the
elementary functions are a few units in the last place; NaN and infinities come out as they should.

The build of the C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

# Klambauer et al., Self-normalizing neural networks (2017).
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
# ln 2 in two parts; the first has so few digits that its product with n is exact.
_LN2 = 0xB17217F7D1CF79ABC9E3B39803F2F6AF  # ln 2 * 2^128, rounded down
_LN2_DIGITS = {"float32": 15, "float64": 40}


class Value:
    """A number that a function computes: arithmetic on it is the vocabulary's."""

    __slots__ = ("raw", "words")

    def __init__(self, words: Vocabulary, raw: Any) -> None:
        self.words, self.raw = words, raw

    def __add__(self, other: Any) -> Value:
        return self.words.apply("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.words.apply("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.words.apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.words.apply("subtract", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.words.apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.words.apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.words.apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.words.apply("divide", other, self)

    def __neg__(self) -> Value:
        return self.words.apply("negative", self)


class Vocabulary:
    """What functions are written in, for numbers of one dtype.

    ``coefficients`` is the module of that name. Derived classes make numbers (`number`) and do
    operations (`operation`) on what a `Value` holds.
    """

    def __init__(self, dtype: str, coefficients: Any) -> None:
        self.dtype, self.coefficients = dtype, coefficients
        self.wide = dtype == "float64"
        self.mantissa, self.bias = (52, 1023) if self.wide else (23, 127)

    def number(self, value: float) -> Any:
        """Return a constant, rounded to the dtype."""
        raise NotImplementedError

    def operation(self, name: str, *operands: Any) -> Any:
        """Return the result of an operation: those of `Value`, and those that methods name."""
        raise NotImplementedError

    def call(self, function: Callable[[Any, Value], Value], x: Value) -> Value:
        """Return another function's value."""
        return function(self, x)

    def apply(self, name: str, *operands: Any) -> Value:
        """Do an operation on values and numbers."""
        raw = [o.raw if isinstance(o, Value) else self.number(o) for o in operands]
        return Value(self, self.operation(name, *raw))

    def fma(self, a: Any, b: Any, c: Any) -> Value:
        """Return a * b + c, with one rounding where the CPU has such an instruction."""
        return self.apply("fma", a, b, c)

    def series(self, coefficients: Any, x: Value) -> Value:
        """Return a polynomial by its coefficients, highest first."""
        total: Any = coefficients[0]
        for coefficient in coefficients[1:]:
            total = self.fma(total, x, coefficient)
        return total  # type: ignore[no-any-return]

    def less(self, x: Any, y: Any, yes: Any, no: Any) -> Value:
        """Return ``yes`` where x < y, else ``no``, also for NaN."""
        return self.apply("less", x, y, yes, no)

    def smaller(self, limit: Any, x: Any) -> Value:
        """Return the smaller of both, x where it is NaN."""
        return self.apply("smaller", limit, x)

    def larger(self, limit: Any, x: Any) -> Value:
        """Return the larger of both, x where it is NaN."""
        return self.apply("larger", limit, x)

    def magnitude(self, x: Value) -> Value:
        """Return x without its sign."""
        return self.apply("magnitude", x)

    def signed_as(self, size: Value, sign: Value) -> Value:
        """Return the size of one, not negative, with the sign of another."""
        return self.apply("signed_as", size, sign)

    def or_nan(self, nan: Value, x: Value) -> Value:
        """Return x, or the first where that is NaN."""
        return self.apply("or_nan", nan, x)

    def exponent(self, shifted: Value) -> Value:
        """Return 2^n for n + bias + 1.5 * 2^mantissa."""
        return self.apply("exponent", shifted)

    def scaled(self, less_one: Value, n: Value, first: Value, second: Value) -> Value:
        """Return (1 + less_one) 2^n, by n or by the two factors of its power."""
        return self.apply("scaled", less_one, n, first, second)


# Elementary functions of one number.


def _exp_parts(m: Vocabulary, x: Value) -> tuple[Value, Value, Value, Value]:
    """Return exp(r) - 1, n, and two factors of 2^n, for x = n ln 2 + r with abs(r) <= ln 2 / 2.

    Two factors, since the smallest and the largest results need an n that no exponent holds. Cody,
    Waite: Software manual for the elementary functions (1980).
    """
    rest = 128 - _LN2_DIGITS[m.dtype]
    high = (_LN2 >> rest) * 2.0 ** (rest - 128)
    low = (_LN2 - ((_LN2 >> rest) << rest)) * 2.0**-128
    magic = 1.5 * 2.0**m.mantissa
    shifted = m.fma(x, 1 / log(2), magic)
    n = shifted - magic
    r = m.fma(-n, low, m.fma(-n, high, x))
    less_one = m.fma(m.series(m.coefficients.exponential(m.dtype), r), r * r, r)
    return less_one, n, m.apply("first_power", shifted), m.apply("second_power", shifted)


def exponential(m: Vocabulary, x: Value) -> Value:
    """exp(x)."""
    low, high = (-760, 720) if m.wide else (-110, 95)
    return m.scaled(*_exp_parts(m, m.smaller(high, m.larger(low, x))))


def exponential_less_one(m: Vocabulary, x: Value) -> Value:
    """exp(x) - 1, exact near zero too."""
    low, high = (-60, 720) if m.wide else (-30, 95)
    less_one, _, first, second = _exp_parts(m, m.smaller(high, m.larger(low, x)))
    power = first * second
    large = ((less_one + 1) * first) * second - 1
    return m.less(1, x, large, power * less_one + (power - 1))


def hyperbolic_tangent(m: Vocabulary, x: Value) -> Value:
    """With abs(x) = n ln 2 / 2 + r, s = 2^n, w = tanh(r): ((s-1) + (s+1) w) / ((s+1) + (s-1) w).

    No difference in it loses digits.
    """
    magic = 1.5 * 2.0**m.mantissa + m.bias
    # From the limit on the result is 1.
    size = m.smaller(20 if m.wide else 10, m.magnitude(x))
    shifted = m.fma(size, 2 / log(2), magic)
    # The product is exact for n = 0; where it is not, r matters less than s.
    r = m.fma(magic - shifted, log(2) / 2, size)
    s = m.exponent(shifted)
    square = r * r
    w = m.fma(m.series(m.coefficients.hyperbolic_tangent(m.dtype), square), r * square, r)
    less, more = s - 1, s + 1
    return m.signed_as(m.fma(more, w, less) / m.fma(less, w, more), x)


def log_of_more(m: Vocabulary, x: Value) -> Value:
    """log(1 + x) for 0 <= x <= 1: twice the inverse hyperbolic tangent of x / (2 + x)."""
    s = x / (2 + x)
    terms = 17 if m.wide else 8
    return s * m.series([2 / (2 * k + 1) for k in range(terms, -1, -1)], s * s)


def error_complement(m: Vocabulary, x: Value) -> Value:
    """erfc(x) = exp(-z^2) w(z), a polynomial in (z - K) / (z + K), for z of either sign.

    Schonfelder: Chebyshev expansions for the error and related functions (1978).
    """
    # It is 0 beyond the limit.
    z = m.smaller(28 if m.wide else 12, m.magnitude(x))
    k = m.coefficients.ERFC_SCALE
    t = (z - k) / (z + k)
    far = m.call(exponential, -z * z) * m.series(m.coefficients.erfc(m.dtype), t)
    return m.less(x, 0, 2 - far, far)


# Functions by name, of a number and up to two parameters.


def leaky_relu(m: Vocabulary, x: Value, slope: Value) -> Value:
    return m.less(0, x, x, x * slope)


def hardtanh(m: Vocabulary, x: Value, low: Value, high: Value) -> Value:
    return m.larger(low, m.smaller(high, x))


def elu(m: Vocabulary, x: Value, alpha: Value) -> Value:
    return m.less(x, 0, alpha * m.call(exponential_less_one, x), x)


def selu(m: Vocabulary, x: Value) -> Value:
    less_one = m.call(exponential_less_one, x)
    return m.less(x, 0, SELU_SCALE * SELU_ALPHA * less_one, SELU_SCALE * x)


def celu(m: Vocabulary, x: Value, alpha: Value) -> Value:
    return m.less(x, 0, alpha * m.call(exponential_less_one, x / alpha), x)


def gelu(m: Vocabulary, x: Value) -> Value:
    return 0.5 * x * m.call(error_complement, -x * sqrt(0.5))


def gelu_tanh(m: Vocabulary, x: Value) -> Value:
    """0.5 x (1 + tanh(y)) = x / (1 + exp(-2 y)). Hendrycks, Gimpel: GELUs (2016)."""
    inner = x + 0.044715 * x * x * x
    return x / (1 + m.call(exponential, -2 * sqrt(2 / pi) * inner))


def silu(m: Vocabulary, x: Value) -> Value:
    return x / (1 + m.call(exponential, -x))


def mish(m: Vocabulary, x: Value) -> Value:
    """tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), which is 1 from x = 20 on."""
    e = m.call(exponential, m.smaller(20, x))
    part = e * (e + 2)
    return x * (part / (part + 2))


def hardsigmoid(m: Vocabulary, x: Value) -> Value:
    return m.larger(0, m.smaller(6, x + 3)) / 6


def hard_sigmoid(m: Vocabulary, x: Value, slope: Value, shift: Value) -> Value:
    return m.larger(0, m.smaller(1, slope * x + shift))


def thresholded_relu(m: Vocabulary, x: Value, threshold: Value) -> Value:
    return m.less(threshold, x, x, 0)


def hardswish(m: Vocabulary, x: Value, scale: Value, shift: Value) -> Value:
    return scale * (x * hardsigmoid(m, x)) + shift


def sigmoid(m: Vocabulary, x: Value) -> Value:
    return 1 / (1 + m.call(exponential, -x))


def tanh(m: Vocabulary, x: Value) -> Value:
    return m.call(hyperbolic_tangent, x)


def softplus(m: Vocabulary, x: Value, beta: Value, threshold: Value) -> Value:
    z = beta * x
    power = m.call(exponential, -m.magnitude(z))
    smooth = (m.less(0, z, z, 0) + m.call(log_of_more, power)) / beta
    return m.less(threshold, z, x, smooth)


def softsign(m: Vocabulary, x: Value) -> Value:
    return x / (1 + m.magnitude(x))


def erf(m: Vocabulary, x: Value) -> Value:
    """Z q(z^2) up to 1, which keeps its digits near zero; beyond that one less erfc."""
    size = m.magnitude(x)
    z = m.smaller(1, size)
    near = z * m.series(m.coefficients.erf(m.dtype), z * z)
    far = 1 - m.call(error_complement, size)
    return m.or_nan(x, m.signed_as(m.less(1, size, far, near), x))


def exp(m: Vocabulary, x: Value) -> Value:
    return m.call(exponential, x)


def reciprocal(m: Vocabulary, x: Value) -> Value:
    return 1 / x


def absolute(m: Vocabulary, x: Value) -> Value:
    return m.magnitude(x)


def negative(m: Vocabulary, x: Value) -> Value:
    return -x


def sqrt_(m: Vocabulary, x: Value) -> Value:
    return m.apply("root", x)


def rint(m: Vocabulary, x: Value) -> Value:
    """To the nearest whole number, halves to even."""
    return m.apply("rint", x)


def floor(m: Vocabulary, x: Value) -> Value:
    return m.apply("floor", x)


def ceil(m: Vocabulary, x: Value) -> Value:
    return m.apply("ceil", x)


ELEMENTARY = (
    exponential, exponential_less_one, hyperbolic_tangent, log_of_more, error_complement,
)  # fmt: skip
# Kernels' names, which are the activations' but for those that share a kernel or take two.
FUNCTIONS: dict[str, Callable[..., Value]] = {
    function.__name__.rstrip("_"): function
    for function in (
        leaky_relu, hardtanh, elu, selu, celu, gelu, gelu_tanh, silu, mish, hardsigmoid, hardswish,
        sigmoid, tanh, softplus, softsign, absolute, ceil, erf, exp, floor, hard_sigmoid, negative,
        reciprocal, rint, sqrt_, thresholded_relu,
    )
}  # fmt: skip


def value_of(m: Vocabulary, name: str, x: Value, *parameters: Value) -> Value:
    """Return the value of a function by its name; it may have fewer parameters."""
    function = FUNCTIONS[name]
    return function(m, x, *parameters[: function.__code__.co_argcount - 2])
