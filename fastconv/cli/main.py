"""The commands. Bad input is one line on stderr and exit status 2, never a traceback."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

import fastconv
from fastconv.cli.classify import Prediction, classify
from fastconv.cli.common import (
    bar,
    input_shape_option,
    model_argument,
    random_feeds,
    read_shape,
    read_values,
    shapes_of_inputs,
    threads_option,
    use_threads,
    values_option,
)
from fastconv.cli.compare import compare
from fastconv.cli.images import Form, read_images
from fastconv.cli.profile import profile
from fastconv.cli.tune import tune

# Below so many images a progress bar would only flicker.
PROGRESS_FROM = 64


def main() -> None:
    """Run the command line."""
    try:
        cli.main(standalone_mode=False, prog_name="fastconv")
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _fail(str(error) or type(error).__name__)


def _fail(message: str) -> None:
    print(f"fastconv: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fastconv.__version__)
def cli() -> None:
    """Run convolutional networks forward."""


class SizeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """HEIGHTxWIDTH, or one number for both."""

    name = "HxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read the two numbers."""
        parts = str(value).lower().split("x")
        if len(parts) not in (1, 2) or not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size such as 224x224", param, ctx)
        return int(parts[0]), int(parts[-1])


class NumbersType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Numbers with commas between them."""

    name = "NUMBERS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Read the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0.5,0.5,0.5", param, ctx)


@cli.command()
@model_argument
@click.argument("images", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="Classes shown.")
@click.option("--labels", type=click.Path(dir_okay=False), help="Class names, one a line.")
@click.option("--size", type=SizeType(), help="Resize to this; default: the network's input.")
@click.option("--crop", is_flag=True, help="Keep proportions when resizing, and take the middle.")
@click.option("--scale", type=float, help="Divide pixels by this; default 255 for float inputs.")
@click.option("--mean", type=NumbersType(), default=(), help="Subtracted, a number a channel.")
@click.option("--std", type=NumbersType(), default=(), help="Divided by, a number a channel.")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Default: by the input.")
@click.option("--key", help="The array's name in .npz files.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@threads_option
def run(
    model: str,
    images: tuple[str, ...],
    top: int,
    labels: str | None,
    key: str | None,
    batch_size: int,
    as_json: bool,
    threads: int | None,
    **form: Any,
) -> None:
    """Classify IMAGES (PNG, JPEG, .npy, .npz) with MODEL and print their top classes."""
    use_threads(threads)
    network = fastconv.load(model)
    wanted = Form.of(network.inputs[0], **form)
    names = _read_labels(labels)
    shown = []
    with _progress(images, key) as done:
        found = read_images(images, key)
        for prediction in classify(
            network, found, wanted, top=top, batch_size=batch_size, done=done
        ):
            if as_json:
                shown.append(_as_dict(prediction, names))
            else:
                click.echo(_as_line(prediction, names))
    if as_json:
        click.echo(json.dumps({"model": model, "images": shown}, indent=2))


@contextmanager
def _progress(images: tuple[str, ...], key: str | None) -> Iterator[Any]:
    """Yield a function to call with the number of images done; a bar on stderr on long work."""
    total = len(images)
    arrays = any(Path(path).suffix in (".npy", ".npz") for path in images)
    if not sys.stderr.isatty() or (total < PROGRESS_FROM and not arrays):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("images", total=None if arrays else total)
        yield lambda count: progress.advance(task, count)


def _read_labels(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        # Editors on Windows put a byte order mark in front.
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file of labels") from None


def _label(index: int, names: list[str]) -> str:
    return names[index] if index < len(names) else str(index)


def _as_line(prediction: Prediction, names: list[str]) -> str:
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return f"{prediction.image}  " + "  ".join(f"{_label(i, names)} {p:.1%}" for i, p in pairs)


def _as_dict(prediction: Prediction, names: list[str]) -> dict[str, Any]:
    rows = zip(prediction.classes, prediction.scores, prediction.probabilities, strict=True)
    return {
        "image": prediction.image,
        "classes": [
            {"index": i, "label": _label(i, names), "score": s, "probability": p}
            for i, s, p in rows
        ],
    }


@cli.command()
@model_argument
@input_shape_option
@values_option
def summary(model: str, input_shape: str | None, values: tuple[str, ...]) -> None:
    """Tabulate MODEL's layers: shapes, parameters, work, receptive field, algorithm."""
    network = fastconv.load(model)
    decided = read_values(values, network.inputs)
    shapes = shapes_of_inputs(network, read_shape(input_shape))
    click.echo(str(network.summary(shapes, values=decided)))


@cli.command()
@model_argument
@input_shape_option
@values_option
@click.option("--measure", is_flag=True, help="Time every algorithm now, on one thread.")
@click.option("--passes", is_flag=True, help="Tell what was folded and fused, and the memory.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def explain(
    model: str,
    input_shape: str | None,
    values: tuple[str, ...],
    measure: bool,
    passes: bool,
    as_json: bool,
) -> None:
    """Show for each of MODEL's layers which algorithm runs, why, and why not the others."""
    network = fastconv.load(model)
    told = network.explain(
        shapes_of_inputs(network, read_shape(input_shape)),
        measure=measure,
        passes=passes,
        values=read_values(values, network.inputs),
    )
    click.echo(json.dumps(told.as_dict(), indent=2) if as_json else str(told))


@cli.command()
def info() -> None:
    """Show versions, instruction set, caches, threads, backends, cache folder, tuning table."""
    click.echo(str(fastconv.show_config()))


@cli.command()
@click.argument("model", required=False, type=click.Path(dir_okay=False))
@input_shape_option
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    default=("float32",),
    show_default=True,
    type=click.Choice(["float32", "float64"]),
)
def warmup(model: str | None, input_shape: str | None, dtypes: tuple[str, ...]) -> None:
    """Compile kernels now and keep them on disk: MODEL's, or every family's."""
    network = None if model is None else fastconv.load(model)
    with bar("compiling") as progress:
        count = fastconv.warmup(network, read_shape(input_shape), dtypes=dtypes, progress=progress)
    click.echo(f"{count} jobs done; kernels are kept in {fastconv.show_config()['cache folder']}")


@cli.command()
@model_argument
@input_shape_option
@values_option
@click.option("--batch-size", default=1, show_default=True, type=click.IntRange(1))
@click.option("--repeat", default=50, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@threads_option
def bench(
    model: str,
    input_shape: str | None,
    values: tuple[str, ...],
    batch_size: int,
    repeat: int,
    as_json: bool,
    threads: int | None,
) -> None:
    """Time MODEL on random data: the median latency of a batch, and images a second."""
    use_threads(threads)
    network = fastconv.load(model)
    decided = read_values(values, network.inputs)
    feeds = random_feeds(network, read_shape(input_shape), batch_size, decided)
    times = _latencies(network, feeds, repeat)
    result = {
        "model": model,
        "batch": int(feeds[0].shape[0]),
        "threads": fastconv.get_num_threads(),
        "median_ms": float(np.median(times)) * 1e3,
        "best_ms": min(times) * 1e3,
        "images_per_second": feeds[0].shape[0] / float(np.median(times)),
    }
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"{model}: batch {result['batch']}, {result['threads']} threads: "
            f"{result['median_ms']:.3f} ms (best {result['best_ms']:.3f}), "
            f"{result['images_per_second']:,.0f} images a second"
        )


def _latencies(network: Any, feeds: list[Any], repeat: int) -> list[float]:
    """Return the seconds of ``repeat`` runs, after two that are not counted."""
    times = []
    for count in range(repeat + 2):
        start = time.perf_counter()
        network(*feeds)
        if count >= 2:
            times.append(time.perf_counter() - start)
    return times


cli.add_command(compare)
cli.add_command(profile)
cli.add_command(tune)
