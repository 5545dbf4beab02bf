"""Kernels that run others: whole programs, and some of a stage's items."""

from __future__ import annotations

from fastconv.backends.manifest.schema import Address, Args, Int, Kernel, Record, Rest


class Nested(Args):
    """Programs within a program: see native/nested.py."""

    # Rows of `Run`, and of the programs' stages, blocks and places.
    runs: Address
    run_count: Int
    stages: Address
    blocks: Address
    places: Address
    # How many buffers there are, workspace and scratch memory included.
    buffers: Int
    # Bytes from a worker's scratch memory to the block.
    block_at: Int
    scratch_base: Address
    scratch_stride: Int
    buffer_addresses: Rest


class NestedRun(Record):
    """A program that is run once for each of its pieces."""

    first: Int
    stage_at: Int
    stage_count: Int
    word_at: Int
    word_count: Int
    place_at: Int
    place_count: Int
    workspace_at: Int
    scratch_at: Int
    # Bytes to each buffer's first piece, and on to the next.
    offsets: Rest


class Ranged(Args):
    """A kernel's items from ``first_item`` on."""

    kernel: Address
    bytes_to_arguments: Int
    first_item: Int


KERNELS = (
    Kernel("nested", Nested, "engine.nested:nested", "nested.c"),
    Kernel("ranged", Ranged, "engine.ranged:ranged", "ranged.c"),
)
RECORDS = (NestedRun,)
