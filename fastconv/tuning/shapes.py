"""Convolutions written as text, ``64x128x56x56,k3,s2,p1``, or as the rows of a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.problem import ConvProblem, ConvTransposeProblem
from fastconv.problem.conv import DEFAULT_RTOL, DTYPES
from fastconv.problem.remember import Spec
from fastconv.problem.values import integer
from fastconv.problem.windows import PADDING_MODES

Convolution = ConvProblem | ConvTransposeProblem

SYNTAX = (
    "INxOUTxHEIGHTxWIDTH (INxOUTxWIDTH for signals, INxOUTxDEPTHxHEIGHTxWIDTH for volumes), then "
    "with commas k3 or k3x5 (kernel, which must be given), s2 (stride), p1, p1x2, p0+1x0+1 or "
    "same (padding), d2 (dilation), g32 (groups), o1 (output padding), rtol=1e-3, "
    "precision=tf32, and any of the "
    f"words transposed, nhwc, {', '.join(PADDING_MODES)} and dtypes"
)
_OPTIONS = {"k": "kernel", "s": "stride", "p": "padding", "d": "dilation", "o": "output_padding"}
_PAIR = r"\d+(?:\+\d+)?"
_ITEM = re.compile(rf"([kspdo])({_PAIR}(?:x{_PAIR})*)")
_LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def problem_of(text: str) -> Convolution:
    """Return the convolution of one image that a text describes.

    Raises
    ------
    ValueError
        For a text that is no such description, or a convolution that cannot be.
    """
    head, *items = (part.strip().lower() for part in text.split(","))
    if not re.fullmatch(r"\d+(x\d+){2,4}", head):
        raise ValueError(f"{text!r} does not begin with sizes; a convolution is {SYNTAX}")
    try:
        sizes = [integer(int(number), "size", least=1) for number in head.split("x")]
        in_channels, out_channels, *size = sizes
        return _build(in_channels, out_channels, tuple(size), _options(items, len(size)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"convolution {text!r}: {error}") from None


def _options(items: Sequence[str], n: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in items:
        name, value = _option(item)
        if name in options:
            raise ValueError(f"{item!r} says {name} a second time")
        if isinstance(value, tuple) and len(value) not in (1, n):
            raise ValueError(f"{item!r} must have 1 or {n} numbers")
        options[name] = value * n if isinstance(value, tuple) and len(value) == 1 else value
    if "kernel" not in options:
        raise ValueError("there must be a kernel, such as k3")
    return options


def _option(item: str) -> tuple[str, Any]:
    found = _ITEM.fullmatch(item)
    if found:
        pairs = [tuple(map(int, part.split("+"))) for part in found[2].split("x")]
        if found[1] == "p":
            return "padding", tuple((pair[0], pair[-1]) for pair in pairs)
        if all(len(pair) == 1 for pair in pairs):
            return _OPTIONS[found[1]], tuple(pair[0] for pair in pairs)
    if re.fullmatch(r"g\d+", item):
        return "groups", int(item[1:])
    if re.fullmatch(r"rtol=[-+.e\d]+", item):
        return "rtol", float(item[5:])
    if item.startswith("precision="):
        return "precision", item.removeprefix("precision=")
    words = {
        "same": ("padding", "same"),
        "transposed": ("transposed", True),
        "nhwc": ("last", True),
        **{name: ("padding_mode", name) for name in PADDING_MODES},
        **{name: ("dtype", name) for name in DTYPES},
    }
    if item not in words:
        raise ValueError(f"{item!r} is not understood; a convolution is {SYNTAX}")
    return words[item]


def _build(
    in_channels: int, out_channels: int, size: tuple[int, ...], options: dict[str, Any]
) -> Convolution:
    n = len(size)
    kernel = options.pop("kernel")
    groups = options.get("groups", 1)
    last = options.pop("last", False)
    transposed = options.pop("transposed", False)
    dtype = _dtype(options.pop("dtype", "float32"))
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(f"groups={groups} must divide {in_channels} and {out_channels} channels")
    x = (1, *size, in_channels) if last else (1, in_channels, *size)
    first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
    weight = Spec((first, second // groups, *kernel), dtype)
    options["layout"] = _LAYOUTS[n][last]
    if transposed:
        if "padding_mode" in options:
            raise ValueError("a transposed convolution has no padding mode")
        return ConvTransposeProblem.of(n, Spec(x, dtype), weight, **options)
    if "output_padding" in options:
        raise ValueError("output padding is for transposed convolutions")
    return ConvProblem.of(n, Spec(x, dtype), weight, **options)


def _dtype(name: str) -> np.dtype[Any]:
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError("bfloat16 needs the package ml_dtypes") from None
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def text_of(problem: Any) -> str:
    """Describe a convolution as `problem_of` reads it; defaults, batch and epilogue left out."""
    size = "x".join(map(str, problem.input_size))
    items = [f"{problem.in_channels}x{problem.out_channels}x{size}", f"k{_sizes(problem)}"]
    for letter, values, default in (
        ("s", problem.stride, 1),
        ("p", tuple(a if a == b else f"{a}+{b}" for a, b in problem.padding), 0),
        ("o", getattr(problem, "output_padding", ()), 0),
        ("d", problem.dilation, 1),
    ):
        if any(value != default for value in values):
            items.append(letter + _joined(values))
    if problem.groups != 1:
        items.append(f"g{problem.groups}")
    if isinstance(problem, ConvTransposeProblem):
        items.append("transposed")
    elif problem.padding_mode != "zeros":
        items.append(problem.padding_mode)
    if problem.channels_last:
        items.append("nhwc")
    if problem.dtype.name != "float32":
        items.append(problem.dtype.name)
    if problem.rtol != DEFAULT_RTOL:
        items.append(f"rtol={problem.rtol}")
    if problem.precision is not None:
        items.append(f"precision={problem.precision}")
    return ",".join(items)


def _sizes(problem: Any) -> str:
    return _joined(problem.kernel_size)


def _joined(values: Sequence[Any]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


NEEDED = ("in_channels", "out_channels", "height", "width", "kernel_h", "kernel_w")
OPTIONAL = {"stride": 1, "pad_h": 0, "pad_w": 0, "dilation": 1, "groups": 1}
UNUSED = ("name", "batch")


def read_csv(path: str | Path) -> dict[str, Convolution]:
    """Read convolutions of images in float32 from a CSV file with a header.

    Its columns are those of ``benchmarks/layers.csv``: in_channels, out_channels, height, width,
    kernel_h and kernel_w, and where they are wanted stride, pad_h, pad_w, dilation and groups;
    name is for reports, and the batch does not count.

    Returns
    -------
    dict
        Convolutions by name, or by number where there is none.

    Raises
    ------
    ValueError
        For another file, naming the line.
    """
    with open(path, newline="", encoding="utf-8") as file:
        try:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            _check_header(header, path)
            return dict(
                (row.get("name") or str(line), _of_row(row, f"{path}, line {line}"))
                for line, row in enumerate(reader, 2)
            )
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from None


def _check_header(header: Sequence[str], path: Any) -> None:
    missing = [name for name in NEEDED if name not in header]
    unknown = [name for name in header if name not in (*NEEDED, *OPTIONAL, *UNUSED)]
    if missing or unknown:
        raise ValueError(
            f"{path} needs the columns {', '.join(NEEDED)} and may have "
            f"{', '.join((*OPTIONAL, *UNUSED))}; "
            + (f"it lacks {missing[0]}" if missing else f"{unknown[0]!r} is not understood")
        )


def _of_row(row: dict[str, Any], where: str) -> Convolution:
    n = {}
    for name in (*NEEDED, *OPTIONAL):
        text = row.get(name) or str(OPTIONAL.get(name, ""))
        if not text.strip().isdigit():
            raise ValueError(f"{where}: {name} must be a number, not {text!r}")
        n[name] = int(text)
    size = f"{n['in_channels']}x{n['out_channels']}x{n['height']}x{n['width']}"
    try:
        return problem_of(
            f"{size},k{n['kernel_h']}x{n['kernel_w']},s{n['stride']},p{n['pad_h']}x{n['pad_w']},"
            f"d{n['dilation']},g{n['groups']}"
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
