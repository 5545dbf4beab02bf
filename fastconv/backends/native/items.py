"""How many work items a plan has at least, so that threads find something to share.

It depends on the problem alone, never on how many threads there are.
"""

from __future__ import annotations

# Work items of one image that a long stage has at least.
LEAST_ITEMS = 4
# Operations of an image from which on smaller items are worth what they cost one thread: some ten
# microseconds of work or more. Items that cost nothing are not asked for it.
LONG_OPERATIONS = 1_000_000


def items_wanted(operations: float) -> int:
    """Return how many work items are wanted of an image that takes so many operations."""
    return LEAST_ITEMS if operations >= LONG_OPERATIONS else 1


def part_of(whole: int, others: int, wanted: int = LEAST_ITEMS) -> int:
    """Return the largest share of ``whole`` that leaves enough items.

    Each of ``others`` items is cut into as many parts as are wanting, 1 being the least share.
    """
    return max(1, whole // -(-wanted // max(1, others)))
