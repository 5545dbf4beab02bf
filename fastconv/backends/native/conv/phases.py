"""Phases of a transposed convolution: the outputs r + s j see the same taps for every j."""

from __future__ import annotations

from fastconv.problem import ConvTransposeProblem

# Of one phase in one dimension: (tap, input cells from output j to that tap's input).
Taps = list[tuple[int, int]]


def phases(problem: ConvTransposeProblem, dimension: int) -> range:
    """Return the phases that have outputs: fewer than the stride where the output is smaller."""
    return range(min(problem.stride[dimension], problem.output_size[dimension]))


def phase_taps(problem: ConvTransposeProblem, dimension: int, phase: int) -> Taps:
    """Return the taps that reach outputs phase + stride * j: input cell j + shift times tap."""
    s, d = problem.stride[dimension], problem.dilation[dimension]
    reach = phase + problem.padding[dimension][0]
    taps = range(problem.kernel_size[dimension])
    return [(k, (reach - k * d) // s) for k in taps if (reach - k * d) % s == 0]


def phase_length(problem: ConvTransposeProblem, dimension: int, phase: int) -> int:
    """Count the outputs phase + stride * j."""
    return max(0, -(-(problem.output_size[dimension] - phase) // problem.stride[dimension]))
