"""The kernel that runs some of another one's items; see fastconv/backends/native/cuts.py."""

from __future__ import annotations

from fastconv.backends.manifest.running import Ranged
from fastconv.backends.numba.engine.kernel import kernel
from fastconv.backends.numba.engine.memory import address_of, call_kernel


@kernel(Ranged)
def ranged():  # type: ignore[no-untyped-def]
    """Run a kernel's items, counted from one of them on."""

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        given = address_of(args) + args.bytes_to_arguments
        start = args.first_item
        call_kernel(args.kernel, given, start + first, start + last, worker)

    return body
