"""Sums, bits and padding: what the drawn problems and the comparisons of bits must catch."""

from __future__ import annotations

MUTATIONS = [
    (
        "fastconv/backends/numba/conv/pack.py",
        "whole = run if channels == stride and count > 0 else end",
        "whole = run if channels == stride else end",
        "tests/functional/test_conv_cells_apart.py -k numba",
        "cells that a stride skips to are packed",
    ),
    (
        "fastconv/arrays.py",
        "        if step < reach:\n",
        "        if step < 0:\n",
        "tests/trust/test_edges.py -k two_elements",
        "an out whose elements share a place is refused",
    ),
    (
        "fastconv/arrays.py",
        "if _is_masked(value) and np.any(value.mask):",
        "if False:",
        "tests/trust/test_edges.py -k masked_cells",
        "masked cells are not computed with",
    ),
    (
        "fastconv/dispatch/choose.py",
        "    check_addresses(problem)\n",
        "",
        "tests/trust/test_edges.py -k 'no_address and reference'",
        "sizes that no address can name are refused",
    ),
    (
        "fastconv/backends/native/conv/separable.py",
        "    half = np.sqrt(np.abs(strength))[:, None]\n",
        "    half = np.abs(strength)[:, None]\n",
        "tests/trust/test_edges.py -k 'top_of_the_range and numba'",
        "a filter split into lines is the filter, at the ends of the range too",
    ),
    (
        "fastconv/backends/native/gemm.py",
        "            part[np.abs(part) < least] = 0\n",
        "            part[np.abs(part) < 0] = 0\n",
        "tests/trust/test_edges.py -k packed",
        "no packed weight is subnormal",
    ),
    (
        "fastconv/backends/numba/engine/float_mode.py",
        "FLOAT_MODE = 0x9FC0 if _X86",
        "FLOAT_MODE = 0x1F80 if _X86",
        "tests/trust/test_float_mode.py -k '(take_subnormals or multiplies) and numba'",
        "subnormal numbers slow nothing",
    ),
    (
        "fastconv/backends/numba/engine/driver.py",
        "    before = swap_float_mode(FLOAT_MODE)\n",
        "    before = FLOAT_MODE\n",
        "tests/trust/test_float_mode.py -k 'own_mode and rounding and numba'",
        "what a program sets of its thread's floats changes no bit",
    ),
    (
        "fastconv/functional/separate.py",
        'np.errstate(invalid="ignore", over="ignore")',
        'np.errstate(over="ignore")',
        "tests/trust/test_edges.py -k special_weights",
        "special weights do not cause a warning",
    ),
]
