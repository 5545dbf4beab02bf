"""Operators of ONNX against onnxruntime, each alone in a model.

``python -m benchmarks.operators [NAMES] [--threads N] [--seconds S] [--slower R]``. NAMES are parts
of the cases' names. Each answer is first held against onnxruntime's; then both take turns, and the
medians and their ratio are printed, slowest first.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import ours
from benchmarks.measure import Result, measure
from benchmarks.operator_cases import Array, Case, cases
from benchmarks.rival import Rival


def disagreement(given: list[Array], expected: list[Array], case: Case) -> str | None:
    """Return how answers differ; None: they agree."""
    for ours_, theirs in zip(given, expected, strict=True):
        if ours_.shape != theirs.shape or ours_.dtype != theirs.dtype:
            return (f"{ours_.dtype}{list(ours_.shape)}, not "
                    f"{theirs.dtype}{list(theirs.shape)}")  # fmt: skip
        if theirs.dtype.kind == "f":
            scale = float(np.nanstd(theirs.astype(np.float64))) or 1.0
            if not np.allclose(ours_, theirs, rtol=1e-5, atol=case.tolerance * scale,
                               equal_nan=True):  # fmt: skip
                worst = np.nanmax(np.abs(ours_.astype(np.float64) - theirs)) / scale
                return f"off by {worst:.1e} of the deviation"
        elif theirs.dtype.itemsize <= 2 and theirs.dtype.kind in "iu" and theirs.size:
            apart = np.abs(ours_.astype(np.int64) - theirs.astype(np.int64))
            if apart.max() > 1:
                return f"off by {apart.max()}"
        elif not np.array_equal(ours_, theirs):
            return f"{np.mean(ours_ != theirs):.1%} of the cells differ"
    return None


_SAME = np.zeros(2, np.float32)


class _Subject:
    """What `measure` asks of a case; the answers were compared before."""

    dtype, calls = "float32", 1


def compare(case: Case, threads: int, seconds: float) -> tuple[dict[str, Result], str | None]:
    """Return both times, and how the answers differ or what failed."""
    import onnxruntime

    import fastconv.onnx

    model = case.model()
    feeds = {f"x{i}": value for i, value in enumerate(case.feeds)}
    rivals, answers = {}, {}
    for name, library in (("fastconv", fastconv.onnx), ("onnxruntime", onnxruntime)):
        options: Any = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            session = library.InferenceSession(model, options, ["CPUExecutionProvider"])
            run = functools.partial(session.run, None, feeds)
            answers[name] = [np.asarray(value) for value in run()]
        except Exception as error:
            return {}, f"{name}: {str(error).strip().splitlines()[0][:100]}"
        context = ours.with_threads(threads) if library is fastconv.onnx else contextlib.nullcontext
        rivals[name] = Rival(run, lambda: _SAME, context)
    differ = disagreement(answers["fastconv"], answers["onnxruntime"], case)
    return measure(_Subject(), rivals, _SAME, seconds), differ


@click.command()
@click.argument("names", nargs=-1)
@click.option("--threads", default=1, show_default=True)
@click.option("--seconds", default=0.2, show_default=True, help="For each case.")
@click.option("--slower", default=0.0, show_default=True, help="Print what is slower than so many "
              "times onnxruntime alone.")  # fmt: skip
def main(names: tuple[str, ...], threads: int, seconds: float, slower: float) -> None:
    """Time operators of ONNX against onnxruntime."""
    rows = []
    for case in cases():
        if names and not any(name.lower() in case.name.lower() for name in names):
            continue
        results, note = compare(case, threads, seconds)
        times = [results[name].seconds if results else None for name in ("fastconv", "onnxruntime")]
        ratio = times[0] / times[1] if times[0] and times[1] else float("inf")
        rows.append((ratio, case.name, times, note or ""))
    table = Table(title=f"times in us, {threads} threads; ratio above 1: onnxruntime is faster")
    for title in ("operator", "fastconv", "onnxruntime", "ratio", "answers"):
        table.add_column(title, justify="left" if title in ("operator", "answers") else "right")
    for ratio, name, times, note in sorted(rows, key=lambda row: -row[0]):
        if ratio >= slower:
            shown = ["" if t is None else f"{t * 1e6:.1f}" for t in times]
            table.add_row(name, *shown, f"{ratio:.2f}", note)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
