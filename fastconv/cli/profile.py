"""The command ``fastconv profile``."""

from __future__ import annotations

import json

import click

import fastconv
from fastconv.cli.common import (
    input_shape_option,
    model_argument,
    random_feeds,
    read_shape,
    read_values,
    threads_option,
    use_threads,
    values_option,
)


@click.command()
@model_argument
@input_shape_option
@values_option
@click.option("--batch-size", default=1, show_default=True, type=click.IntRange(1))
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1))
@click.option("--trace", type=click.Path(dir_okay=False), help="Write JSON for chrome://tracing.")
@click.option("--timeline", type=click.Path(dir_okay=False), help="Draw this picture (.png).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@threads_option
def profile(
    model: str,
    input_shape: str | None,
    values: tuple[str, ...],
    batch_size: int,
    runs: int,
    trace: str | None,
    timeline: str | None,
    as_json: bool,
    threads: int | None,
) -> None:
    """Time MODEL's operations one by one on random data, against the machine's limit."""
    use_threads(threads)
    network = fastconv.load(model)
    decided = read_values(values, network.inputs)
    feeds = random_feeds(network, read_shape(input_shape), batch_size, decided)
    taken = network.profile(*feeds, runs=runs)
    if trace is not None:
        taken.save_trace(trace)
    if timeline is not None:
        taken.save_timeline(timeline)
    click.echo(json.dumps(taken.as_dict(), indent=2) if as_json else str(taken))
