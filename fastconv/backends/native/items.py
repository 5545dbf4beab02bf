"""How many work items a plan has at least, so that threads find something to share.

It depends on the problem alone, never on how many threads there are.
"""

from __future__ import annotations

# Work items of one image that a long stage has at least.
LEAST_ITEMS = 4
# Seconds of predicted work from which on there are so many, whatever it takes.
LONG_SECONDS = 200e-6


def items_wanted(seconds: float) -> int:
    """Return how many work items are wanted of an image that takes so long."""
    return LEAST_ITEMS if seconds >= LONG_SECONDS else 1


def part_of(whole: int, others: int, wanted: int = LEAST_ITEMS) -> int:
    """Return the largest share of ``whole`` that leaves enough items.

    Each of ``others`` items is cut into as many parts as are wanting, 1 being the least share.
    """
    return max(1, whole // -(-wanted // max(1, others)))
