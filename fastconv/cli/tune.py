"""The command ``fastconv tune``."""

from __future__ import annotations

import json

import click

import fastconv
from fastconv.cli.common import bar, input_shape_option, read_shape
from fastconv.problem import Problem
from fastconv.tuning import problem_of, read_csv
from fastconv.tuning.shapes import SYNTAX


@click.command(
    epilog=f"A convolution (--conv) is {SYNTAX}. For example 64x128x56x56,k3,s2,p1 turns 64 "
    "channels of 56 x 56 into 128."
)
@click.argument("model", required=False, type=click.Path(dir_okay=False))
@input_shape_option
@click.option("--conv", "convs", multiple=True, metavar="TEXT", help="A convolution; see below.")
@click.option(
    "--csv",
    "tables",
    multiple=True,
    type=click.Path(dir_okay=False, exists=True),
    help="Convolutions, one a line, in the columns of benchmarks/layers.csv.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="Write the table here, to be pinned with FASTCONV_TUNING, and not where this machine's "
    "own is kept.",
)
@click.option(
    "--rounds",
    default=7,
    show_default=True,
    type=click.IntRange(1),
    help="Samples of each algorithm; their median counts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def tune(
    model: str | None,
    input_shape: str | None,
    convs: tuple[str, ...],
    tables: tuple[str, ...],
    output: str | None,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure the convolutions of MODEL, or those given, and keep what is fastest.

    Each algorithm that can serve runs on one image and one thread, in turn with the others.
    Later calls on this machine take what was fastest.
    """
    problems: list[Problem] = [problem_of(text) for text in convs]
    for table in tables:
        problems += read_csv(table).values()
    if model is None and not problems:
        raise click.UsageError("there is nothing to tune: give a MODEL, --conv or --csv")
    with bar("tuning") as progress:
        report = fastconv.tune(
            model,
            read_shape(input_shape),
            shapes=problems,
            output=output,
            rounds=rounds,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        click.echo(f"{report}\nthe table is {report.path}")
