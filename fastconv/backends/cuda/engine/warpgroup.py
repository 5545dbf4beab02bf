"""Numbers of Hopper's warpgroups and of the tiles in shared memory that they multiply.

Sections named are those of the PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
"""

from __future__ import annotations

# A warpgroup: four warps in a row, the first of which has a number that is a multiple of four.
WARPGROUP = 128
# Rows of a warpgroup's product, and terms that one instruction sums (f16 and bf16).
ROWS, TERMS = 64, 16
# Bytes of a line of a tile: 64 halves, as many as the 128-byte swizzle mixes; eight lines repeat.
LINE = 128
ATOM = 8 * LINE
# What a matrix descriptor holds beside its address ("Matrix Descriptor Format"): the stride
# between eights of rows in 16 bytes at bit 32, and at bit 62 the 128-byte swizzle. The leading
# offset (bit 16) is not read for swizzled tiles whose sum runs along a line; 1 by custom. The base
# offset (bit 49) is 0: tiles begin where the swizzle does.
DESCRIPTOR = 1 << 62 | ATOM // 16 << 32 | 1 << 16
# What the address of a descriptor grows by from one instruction's terms to the next's.
ADVANCE = TERMS * 2 // 16
