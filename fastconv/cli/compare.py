"""The command ``fastconv compare``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from fastconv.cli.agreement import Agreement, Tolerance, compare_values
from fastconv.cli.common import bar, model_argument, table, threads_option, use_threads
from fastconv.cli.engines import PEERS, Engine, Fastconv, Feeds
from fastconv.cli.exactness import epsilons, is_quantising
from fastconv.cli.feeds import draw_feeds, existing, read_feeds, read_shapes, row_limits
from fastconv.network import Network

# How many inner values are compared at first; later as many as the memory limit allows, but no
# more than this many times as many as before, since later ones may be larger.
_FIRST, _GROWTH = 16, 8
_RANDOM = frozenset((
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """A value, the node that returns it, its operator, and how the engines agree on it."""

    value: str
    node: str
    operator: str
    found: Agreement

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for programs."""
        own = {"value": self.value, "node": self.node, "operator": self.operator}
        return {**own, **self.found.as_dict()}


@click.command()
@model_argument
@click.option(
    "--with",
    "peer",
    default="onnxruntime",
    show_default=True,
    type=click.Choice(list(PEERS)),
    help="What to compare with; reference is onnx's own evaluator.",
)
@click.option("--layers", is_flag=True, help="Compare the outputs of all nodes too.")
@click.option(
    "--input",
    "file",
    type=click.Path(dir_okay=False),
    help="Inputs by name (.npz), or the only input (.npy); default: random numbers.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=SIZES",
    help="Of an input that is drawn, such as x=1x3x224x224; open sizes are 1 without it.",
)
@click.option(
    "--rtol",
    type=click.FloatRange(0),
    help="Error allowed relative to the value; default: the square root of the dtype's epsilon.",
)
@click.option(
    "--atol",
    type=click.FloatRange(0),
    help="Error allowed besides; default: rtol times the output's standard deviation.",
)
@click.option(
    "--memory",
    default=1024,
    show_default=True,
    type=click.IntRange(1),
    help="MB that the values of --layers may take at one time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@threads_option
def compare(
    model: str,
    peer: str,
    layers: bool,
    file: str | None,
    seed: int,
    shapes: tuple[str, ...],
    rtol: float | None,
    atol: float | None,
    memory: int,
    as_json: bool,
    threads: int | None,
) -> None:
    """Compare MODEL's outputs with those of onnxruntime or of onnx's reference evaluator.

    A value agrees where all its errors are at most atol + rtol * |expected|. The exit status is 0
    where all values agree, 1 where one does not, and 2 where they cannot be compared.
    """
    # Other commands need none of it.
    from fastconv.formats.onnx.reader import import_onnx, inlined, network_of, parse

    if file is not None and shapes:
        raise click.UsageError("--shape is for inputs that are drawn, not for those of --input")
    use_threads(threads)
    path = existing(model)
    other = PEERS[peer](path, threads)
    parsed = parse(path)
    network = network_of(parsed, max_memory=None)
    onnx = import_onnx()
    proto = inlined(onnx, parsed.proto) if parsed.proto.functions else parsed.proto
    feeds, taken = _feeds(network, proto, file, shapes, seed)
    engines = Fastconv(network), other
    values = {name: (n, o) for name, n, o in _values(proto)}
    coarsest = epsilons(onnx, proto.graph)

    def allowed(name: str) -> Tolerance:
        step = int(is_quantising(values.get(name, ("", ""))[1]))
        return Tolerance(rtol, atol, coarsest.get(name, 0.0), step)

    pairs = zip(*(_run(engine, feeds, drawn=file is None) for engine in engines), strict=True)
    outputs = [
        _row(port.name, values, compare_values(own, expected, allowed(port.name)))
        for port, (own, expected) in zip(network.outputs, pairs, strict=True)
    ]
    inner: list[Row] = []
    if layers:
        with bar("comparing") as progress:
            for name, found in _compare_inner(
                list(values), engines, feeds, allowed, memory << 20, progress
            ):
                inner.append(_row(name, values, found))
    agrees = all(row.found.agrees for row in (*outputs, *inner))
    first = next((row for row in inner if not row.found.agrees), None)
    random = [f"{n} ({o})" for n, o in values.values() if o in _RANDOM]
    if as_json:
        shown = {
            "model": model,
            "with": other.name,
            "inputs": {name: [*value.shape] for name, value in feeds.items()},
            "agrees": agrees,
            "outputs": [row.as_dict() for row in outputs],
            "layers": [row.as_dict() for row in inner] if layers else None,
            "first_difference": first.as_dict() if first else None,
            "random": random,
        }
        click.echo(json.dumps(shown, indent=2))
    else:
        given = ", ".join(f"{name} {_size(value.shape)}" for name, value in feeds.items())
        click.echo(f"{model}: fastconv and {other.name} on {given or 'no inputs'}")
        click.echo("\n".join(_told(outputs, inner, layers=layers)))
        if taken:
            click.echo(f"open dimensions were taken as 1 (--shape sets them): {', '.join(taken)}")
        if random:
            click.echo(f"random numbers differ by nature: {', '.join(random)}")
    if not agrees:
        sys.exit(1)


def _feeds(
    network: Network, proto: Any, file: str | None, shapes: Sequence[str], seed: int
) -> tuple[Feeds, list[str]]:
    """Return the inputs, and the dimensions that were taken as 1."""
    taken: list[str] = []
    if file is not None:
        feeds = read_feeds(file, network.inputs)
    else:
        function: Any = network.function
        constants = {n: v.shape for n, v in function.graph.constants.items()}
        limits = row_limits(proto.graph, constants)
        given = read_shapes(shapes, network.inputs)
        feeds, taken = draw_feeds(network.inputs, given, limits, seed)
    network.checked([feeds[port.name] for port in network.inputs])
    return feeds, taken


def _run(engine: Engine, feeds: Feeds, *, drawn: bool) -> list[Any]:
    """Return the outputs; fastconv's errors name the cure for inputs that a model does not take."""
    try:
        return engine.run(None, feeds)
    except (ValueError, TypeError) as error:
        if not drawn or not isinstance(engine, Fastconv):
            raise
        cure = "inputs were drawn at random: --input takes real ones, --shape other sizes"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error}; {cure}") from error


def _values(proto: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the values that nodes of the main graph return, with the node and its operator."""
    for place, node in enumerate(proto.graph.node):
        if node.op_type == "Constant":
            continue
        for name in node.output:
            if name:
                yield name, node.name or f"#{place}", node.op_type


def _row(value: str, values: dict[str, tuple[str, str]], found: Agreement) -> Row:
    return Row(value, *values.get(value, ("", "")), found)


def _compare_inner(
    names: Sequence[str],
    engines: Sequence[Engine],
    feeds: Feeds,
    allowed: Callable[[str], Tolerance],
    memory: int,
    progress: Callable[[int, int, str], None] | None,
) -> Iterator[tuple[str, Agreement]]:
    """Compare inner values some at a time, so that those held take little more than ``memory``."""
    done, count = 0, _FIRST
    while done < len(names):
        batch = names[done : done + count]
        taken = 0
        for name, pair in zip(batch, _pairs(batch, engines, feeds), strict=True):
            if isinstance(pair, str):
                yield name, Agreement(False, note=pair)
                continue
            own, expected = pair
            taken += _bytes(own) + _bytes(expected)
            yield name, compare_values(own, expected, allowed(name))
        done += len(batch)
        if progress is not None:
            progress(done, len(names), batch[-1])
        fitting = int(memory * len(batch) / taken) if taken else len(names)
        count = max(1, min(fitting, _GROWTH * len(batch)))


def _pairs(names: Sequence[str], engines: Sequence[Engine], feeds: Feeds) -> list[Any]:
    """Return the engines' values by pairs, or for a value that one cannot return why."""
    try:
        own, expected = (engine.run(names, feeds) for engine in engines)
    except (ValueError, TypeError, MemoryError) as error:
        if len(names) == 1:
            return [str(error) or type(error).__name__]
        half = len(names) // 2
        parts = names[:half], names[half:]
        return [pair for part in parts for pair in _pairs(part, engines, feeds)]
    return list(zip(own, expected, strict=True))


def _bytes(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", 0))


_ERRORS = ("max error", "mean error", "max/dev", "mean/dev", "verdict")


def _told(outputs: Sequence[Row], inner: Sequence[Row], *, layers: bool) -> list[str]:
    header = ("output", "dtype", "shape", *_ERRORS)
    lines = [table(header, [(row.value, *_cells(row)) for row in outputs], left=3)]
    if layers:
        first = next((i for i, row in enumerate(inner) if not row.found.agrees), None)
        marks = (">" if i == first else "" for i in range(len(inner)))
        rows = [
            (mark, row.node, row.operator, row.value, *_cells(row))
            for mark, row in zip(marks, inner, strict=True)
        ]
        of_nodes = ("", "node", "operator", "value", "dtype", "shape", *_ERRORS)
        lines += ["", table(of_nodes, rows, left=6), ""]
        if first is not None:
            row = inner[first]
            lines.append(
                f"first difference: node {row.node} ({row.operator}), value {row.value}: "
                f"{row.found.note}"
            )
    apart = [row for row in (*outputs, *inner) if not row.found.agrees]
    notes = {f"{row.value}: {row.found.note}": None for row in outputs if row.found.note}
    lines += notes
    if layers and apart and all(row.found.agrees for row in inner):
        lines.append(
            "no node differs where its output is asked for: what differs is made by nodes that are "
            "fused otherwise (fastconv explain --passes shows them)"
        )
    lines.append(
        f"{len(apart)} of {len(outputs) + len(inner)} values differ"
        if apart
        else "all values agree"
    )
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    found = row.found
    numbers = (found.max_error, found.mean_error, found.max_relative, found.mean_relative)
    return (
        found.dtype or "-",
        "-" if found.shape is None else _size(found.shape),
        *("-" if number is None else f"{number:.2e}" for number in numbers),
        "ok" if found.agrees else "DIFFERS",
    )


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
