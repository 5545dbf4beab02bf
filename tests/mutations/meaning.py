"""Changes of what is meant where others leave it open: docs/semantics.md."""

from __future__ import annotations

OPEN = "tests/trust/test_meaning_open.py"

MUTATIONS = [
    (
        "fastconv/problem/windows.py",
        "pairs.append((total // 2, total - total // 2))",
        "pairs.append((total - total // 2, total // 2))",
        f"{OPEN} -k 'same and reference'",
        "the odd cell of 'same' is at the end",
    ),
    (
        "fastconv/problem/windows.py",
        "total = max(0, (-(-size // s) - 1) * s + span(k, d) - size)",
        "total = max(0, (size // s - 1) * s + span(k, d) - size)",
        f"{OPEN} -k 'same and reference'",
        "'same' with a stride gives ceil(size / stride) cells",
    ),
    (
        "fastconv/problem/windows.py",
        "if stride is None or (isinstance(stride, (tuple, list)) and not stride):",
        "if stride is None:",
        f"{OPEN} -k 'empty_stride and reference'",
        "a pool's empty stride is its kernel's size, as in torch",
    ),
    (
        "fastconv/problem/pool.py",
        "return length - 1 if (length - 1) * stride >= size + padding[0] else length",
        "return length",
        f"{OPEN} -k 'ceil_mode and reference'",
        "no window that ceil_mode adds starts in the right padding",
    ),
    (
        "fastconv/problem/pool.py",
        "whole = np.minimum(kernel, -((first - size - after) // step))",
        "whole = np.full_like(low, kernel)",
        f"{OPEN} -k 'ceil_mode and reference'",
        "a mean counts no cell that ceil_mode adds",
    ),
    (
        "fastconv/backends/numba/pool/simd.py",
        'return builder.select(builder.fcmp_unordered("uno", total, total), total, taken)',
        "return taken",
        f"{OPEN} -k 'nan_wins and numba'",
        "NaN wins in a max pool",
    ),
    (
        "fastconv/backends/reference/pool.py",
        "size = np.abs(window)",
        "size = window",
        f"{OPEN} -k 'lp_pools and reference'",
        "an Lp pool of an odd p takes absolute values",
    ),
    (
        "fastconv/problem/values.py",
        'return np.dtype(np.int32 if dtype.name in ("int8", "int16") else np.int64)',
        'return np.dtype(np.int32 if dtype.name != "int64" else np.int64)',
        f"{OPEN} -k 'integers and reference'",
        "sums of int32 are exact in int64",
    ),
    (
        "fastconv/backends/reference/common.py",
        'return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)',
        'return array.astype(np.int64) if array.dtype.kind in "iu" else array',
        f"{OPEN} -k 'halves and reference'",
        "halves are summed in float32 or wider",
    ),
    (
        "fastconv/dispatch/run.py",
        "    if 0 in problem.output_shape:\n        return _EmptyPlan(problem)\n",
        "",
        f"{OPEN} -k 'empty_batch'",
        "an empty batch gives an empty result",
    ),
    (
        "fastconv/nn/norm.py",
        "x, single = batched(x, self._n, type(self).__name__)",
        "single = False",
        f"{OPEN} -k without_a_batch",
        "an image without a batch is a batch of one",
    ),
    (
        "fastconv/backends/reference/pool.py",
        "least = np.iinfo(x.dtype).min if is_integer else -np.inf",
        "least = 0",
        "tests/functional/test_pool.py -k 'no_tap_meets and reference'",
        "a window that sees no cell gives the least number",
    ),
]
