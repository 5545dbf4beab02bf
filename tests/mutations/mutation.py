"""One change of the source."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """A change that breaks a promise.

    Kernels of Numba are mutated with ``{"FASTCONV_BACKEND": "numba"}``. A change in
    ``fastconv/backends/native`` leaves the C extension out, which was built for other plans.
    """

    # Relative to the repository's root.
    file: str
    # It occurs exactly once.
    old: str
    new: str
    # What pytest is given: "tests/a.py::test_b -k c".
    tests: str
    # What would be broken.
    promise: str
    variables: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, which is never written to
