"""What pools of channels-first images have in common: what they serve, and what they cost."""

from __future__ import annotations

from typing import Any

from fastconv.backends.base import Cost, roofline
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.machine import Machine


class ChannelsFirst(NativeAlgorithm):
    """Max, average and Lp pools; an algorithm says which windows it takes."""

    def why_not(self, problem: Any) -> str | None:
        if fold_of(problem) is None:
            return f"{problem.kind} pools: this kernel is for max, avg and lp with p of 1 or 2"
        if problem.return_indices:
            return "indices are asked for"
        if problem.channels_last and problem.channels > 1:
            return "channels last: this kernel is for channels first"
        return super().why_not(problem)

    def cost(self, problem: Any, machine: Machine) -> Cost:
        # The bytes stand for all else: a few operations a cell hide behind them.
        return Cost(roofline(problem, machine, flops=0, bytes=problem.bytes))


def fold_of(problem: Any) -> str | None:
    """Name what a kernel is made for; None where there is none."""
    if problem.kind == "lp":
        return {1.0: "magnitudes", 2.0: "squares"}.get(float(problem.norm_type or 0.0))
    return problem.kind if problem.kind in ("max", "avg") else None
