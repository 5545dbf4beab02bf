"""Every type of problem has an algorithm on the card; none is forgotten when one is added."""

from __future__ import annotations

import fastconv.problem
from fastconv.dispatch.registry import ROWS

# What networks alone pose, and no kernel of the card's does yet: such a network says so.
CPU_ALONE = {
    "AttentionProblem", "DeformProblem", "DequantizeProblem", "FunctionProblem",
    "GridSampleProblem", "MatmulProblem", "NonMaxSuppressionProblem", "QuantizeProblem",
    "RecurrentProblem", "ReduceProblem", "RoiAlignProblem", "TopKProblem",
}  # fmt: skip


def test_every_problem_has_a_row() -> None:
    names = {name for name, *_ in ROWS}
    on_card = {name for name, backend, *_ in ROWS if backend == "cuda"}
    assert names - on_card == CPU_ALONE
    public = {name for name in fastconv.problem.__all__ if name.endswith("Problem")}
    assert public - {"Problem"} <= names
