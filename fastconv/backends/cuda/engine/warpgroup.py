"""Numbers of Hopper's warpgroups and of the tiles in shared memory that they multiply.

Sections named are those of the PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
"""

from __future__ import annotations

# A warpgroup: four warps in a row, the first of which has a number that is a multiple of four.
WARPGROUP = 128
# Rows of a warpgroup's product, and bytes of the terms that one instruction sums.
ROWS, STEP = 64, 32
# Bytes of a factor, by the instructions' names of what factors are.
ITEMS = {"f16": 2, "bf16": 2, "tf32": 4}
# Bytes of a line of a tile, as many as a swizzle mixes: what a descriptor calls the swizzle.
LINES = {128: 1, 64: 2, 32: 3}
# Tiles begin where every swizzle does: eight lines of the longest.
ATOM = 1024
# What the address of a descriptor grows by from one instruction's terms to the next's.
ADVANCE = STEP // 16
# Of an address in shared memory a descriptor holds so many bits, without the last four.
ADDRESS = (1 << 18) - 1


def descriptor(line: int) -> int:
    """Return what a matrix descriptor holds besides its address ("Matrix Descriptor Format").

    The stride between eights of rows is in 16 bytes at bit 32, the swizzle at bit 62. The
    leading offset (bit 16) is not read for swizzled tiles whose sum runs along a line; 1 by custom.
    The base offset (bit 49) is 0: tiles begin where the swizzle does.
    """
    return LINES[line] << 62 | 8 * line // 16 << 32 | 1 << 16
