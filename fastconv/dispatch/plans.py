"""Plans that are kept for problems, whatever the parameters: as many as fit into some memory."""

from __future__ import annotations

import collections
from typing import Any

from fastconv import forks
from fastconv.backends.base import Plan

# What the plans' tables take together, and what a plan takes besides.
MOST_BYTES = 64 << 20
PLAN_BYTES = 8 << 10


class PlanCache:
    """The plans used last, up to so many bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._lock = forks.lock()
        self._kept: collections.OrderedDict[Any, tuple[Plan, int]] = collections.OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Any) -> Plan | None:
        """Return the plan kept for ``key``, if there is one."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Any, plan: Plan) -> Plan:
        """Keep ``plan`` for ``key``, and drop those used longest ago; the first one stays."""
        size = plan.nbytes + PLAN_BYTES
        with self._lock:
            if key in self._kept:
                return self._kept[key][0]
            self._kept[key] = plan, size
            self.nbytes += size
            while self.nbytes > self._most and len(self._kept) > 1:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.nbytes -= dropped
        return plan

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._kept.clear()
            self.nbytes = 0


plans = PlanCache()
