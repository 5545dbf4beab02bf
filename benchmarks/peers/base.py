"""What every peer shares: what it needs, and the shapes of cases as models state them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings

from benchmarks.cases import Case
from benchmarks.rival import Rival, silence

FLOAT32 = "float32 alone"


class Peer:
    """A maker that needs packages: ``needs`` maps what is imported to what pip installs.

    ``plain``: it is called on plain arrays, with no session or model made beforehand.
    """

    name: str
    needs: dict[str, str]
    plain = False

    def missing(self) -> str | None:
        for module, package in self.needs.items():
            if importlib.util.find_spec(module) is None:
                return f"{package} is not installed"
        return None

    def version(self) -> str:
        return importlib.metadata.version(next(iter(self.needs.values())))

    def can(self, case: Case) -> str | None:
        raise NotImplementedError

    def build(self, case: Case, threads: int) -> Rival:
        with warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            return self.make(case, threads)

    def make(self, case: Case, threads: int) -> Rival:
        raise NotImplementedError


def whole_window(case: Case) -> bool:
    """Whether this is an adaptive pool whose one window is the whole image."""
    sizes = case.options.get("output_size")
    return sizes == 1 or (isinstance(sizes, tuple) and set(sizes) == {1})


def other_adaptive(case: Case) -> bool:
    return case.kind.startswith("adaptive") and not whole_window(case)


def output_shape(case: Case) -> tuple[int, ...]:
    if whole_window(case):
        return (*case.shape[:2], *(1,) * case.n)
    columns = zip(
        case.shape[2:], case.kernel, case.each("stride"), case.pads, case.each("dilation"),
        case.each("output_padding"), strict=True,
    )  # fmt: skip
    if case.kind == "conv_transpose":
        sizes = [(i - 1) * s - sum(p) + d * (k - 1) + 1 + e for i, k, s, p, d, e in columns]
    else:
        up = bool(case.options.get("ceil_mode"))
        sizes = [
            (i + sum(p) - d * (k - 1) - 1 + (s - 1 if up else 0)) // s + 1
            for i, k, s, p, d, _ in columns
        ]
    return (case.shape[0], case.out_channels, *sizes)


def counts_padding(case: Case) -> bool:
    """Whether padding counts as cells of an average."""
    return bool(case.options.get("count_include_pad", True))
