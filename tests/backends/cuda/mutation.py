"""Kernels broken on purpose: a check that a broken kernel passes checks nothing."""

from __future__ import annotations

import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastconv.backends.cuda.engine.kernel import KernelFamily


@contextlib.contextmanager
def mutated(target: Any, old: str, new: str) -> Iterator[None]:
    """Put a changed one in the place of a kernel family, or of a function of a module.

    In its source ``old``, which must occur exactly once, is replaced by ``new``. Every module of
    fastconv that holds the target holds the changed one meanwhile. For the simulator: what is
    compiled is read from files.

    Raises
    ------
    ValueError
        Where ``old`` does not occur exactly once: the mutation is out of date.
    """
    plain: Any = target._factory if isinstance(target, KernelFamily) else target
    text = textwrap.dedent(inspect.getsource(plain))
    if text.count(old) != 1:
        raise ValueError(f"{old!r} occurs {text.count(old)} times in {plain.__qualname__}")
    names = dict(plain.__globals__)
    code = compile(text.replace(old, new), f"<mutated {plain.__qualname__}>", "exec")
    exec(code, names)
    changed = names[plain.__name__]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("fastconv."):
                for held, value in list(vars(module).items()):
                    if value is target:
                        patch.setattr(module, held, changed)
        yield


def assert_caught(target: Any, old: str, new: str, check: Callable[[], None]) -> None:
    """Assert that a check fails on the target changed by `mutated`; elsewhere that it passes.

    Whatever is raised counts: a wrong result, or an access that is refused.
    """
    with mutated(target, old, new):
        try:
            check()
        except Exception:
            return
    pytest.fail(f"{old!r} changed to {new!r} is not seen")
