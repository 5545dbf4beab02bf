"""All compiled kernels and the algorithms on them: one row for each.

A row says by what name plans ask for a kernel, what its arguments are, where Numba's and C's are
written, and for which constants C has one.
"""

from __future__ import annotations

from typing import Any

from fastconv.backends.manifest import convolutions, elements, moves, pools, products, running
from fastconv.backends.manifest.schema import Args, Kernel, Record, digest_of, records_of
from fastconv.backends.manifest.tiles import TILES

_FAMILIES = (convolutions, products, pools, elements, moves)
MANIFEST: dict[str, Kernel] = {
    kernel.name: kernel for family in (*_FAMILIES, running) for kernel in family.KERNELS
}
# The algorithms on these kernels, preferred first: (problem type, backends, module, class). The
# module is below fastconv.backends.native, made once for the library of each of the backends.
ALGORITHMS: tuple[tuple[str, str, str, str], ...] = tuple(
    row for family in _FAMILIES for row in family.ALGORITHMS
)
RECORDS: tuple[type[Record], ...] = tuple(
    record for family in (convolutions, products, pools, running) for record in family.RECORDS
)

__all__ = ["ALGORITHMS", "MANIFEST", "RECORDS", "Args", "Kernel", "Record", "digest", "records_of"]


def digest(*more: Any) -> str:
    """Return a checksum of all declarations, and of what else C was made from."""
    return digest_of(tuple(MANIFEST.values()), RECORDS, TILES, *more)
