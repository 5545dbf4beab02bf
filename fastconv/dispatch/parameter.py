"""Immutable arrays that remember the plans that were packed from them."""

from __future__ import annotations

import collections
import weakref
from typing import Any

import numpy as np

from fastconv import forks
from fastconv.arrays import as_array
from fastconv.backends.base import Plan
from fastconv.problem.values import dtype_of


class Parameter(np.ndarray[Any, Any]):
    """A weight or bias that cannot be changed in place, so that it is packed once.

    A function that is given one keeps the packed form with it; plain arrays are packed at each
    call, which counts when the algorithm is chosen. Layers and networks hold their weights so.

    Parameters
    ----------
    value : array
        Copied into an immutable bytes object, which NumPy refuses to make writeable. To change
        a parameter, replace it by another.
    dtype : dtype, optional
        The value's own where not given.

    Examples
    --------
    >>> weight = fastconv.Parameter(weight)
    >>> for image in images:
    ...     fastconv.conv2d(image, weight)
    """

    __fastconv_passes__ = True
    # Whether its matrices are outer products; None: not looked at yet.
    outer_products: bool | None = None
    # The largest of its sizes for each output channel, and the groups of a transposed convolution
    # that it was counted for; None: not looked at yet.
    largest_by_channel: tuple[int, Any] | None = None
    _frozen: bool | None = None
    _turned: dict[tuple[int, ...], Any] | None = None
    _plans: dict[Any, Plans]
    # Calls with this parameter that were solved, by their other arrays and options.
    _calls: dict[Any, Any]

    def __new__(cls, value: Any, dtype: Any = None) -> Parameter:
        array = np.asarray(as_array(value, "value"))
        if dtype is not None:
            array = array.astype(dtype_of(dtype, "dtype"), copy=False)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        frozen = np.frombuffer(array.tobytes() or b"\0" * 8, dtype=array.dtype, count=array.size)
        return frozen.reshape(array.shape).view(cls)

    def __array_finalize__(self, source: Any) -> None:
        self._plans = {}
        self._calls = {}

    @property
    def frozen(self) -> bool:
        """Whether the memory is immutable; it is not in a copy that NumPy made in this class."""
        if self._frozen is None:
            base: Any = self
            while isinstance(base, np.ndarray):
                base = base.base
            self._frozen = isinstance(base, bytes)
        return self._frozen

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def transpose(self, *axes: Any) -> Any:
        """Return the parameter with its dimensions permuted: the same one each time."""
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(int(n) for n in given or range(self.ndim)[::-1])
        if self._turned is None:
            self._turned = {}
        found = self._turned.get(order)
        return self._turned.setdefault(order, super().transpose(order)) if found is None else found

    def __reduce__(self) -> Any:
        return Parameter, (np.array(self),)

    def __deepcopy__(self, memo: Any) -> Parameter:
        return self


class Plans:
    """The plans kept for one set of parameters: the newest few shapes."""

    LIMIT = 16

    def __init__(self, parameters: tuple[Any, ...]) -> None:
        self._parameters = parameters[1:]
        self._kept: collections.OrderedDict[Any, Plan] = collections.OrderedDict()
        self._lock = forks.lock()
        # What the parameters were packed into, by all that this depends on, as long as a plan
        # holds it. No lock: of two threads at a time each may pack its own.
        self.packed: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()

    def get(self, key: Any) -> Plan | None:
        """Return the plan kept for ``key``, if there is one."""
        with self._lock:
            plan = self._kept.get(key)
            if plan is not None:
                self._kept.move_to_end(key)
            return plan

    def put(self, key: Any, plan: Plan) -> Plan:
        """Keep ``plan`` for ``key``; the plan that was there first stays."""
        with self._lock:
            plan = self._kept.setdefault(key, plan)
            while len(self._kept) > self.LIMIT:
                self._kept.popitem(last=False)
            return plan


# How many other sets of parameters one may be part of, the latest ones: a bias that is replaced
# again and again leaves its plans behind, and each holds the packed weight.
SETS = 16
_sets = forks.lock()


def plans_of(parameters: tuple[Any, ...]) -> Plans:
    """Return the plans kept for ``parameters``, which are all Parameters or None, together."""
    first = next(p for p in parameters if p is not None)
    key = tuple(id(p) for p in parameters)
    plans = first._plans.get(key)
    if plans is None:
        with _sets:
            plans = first._plans.setdefault(key, Plans(parameters))
            while len(first._plans) > SETS:
                del first._plans[next(iter(first._plans))]
    return plans  # type: ignore[no-any-return]
