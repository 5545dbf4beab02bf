"""A tuning table: what was measured on one machine, in a file of JSON that is read with distrust.

Nothing in a file is run, imported or made into a problem: rows are found by comparing text, and
an algorithm's name serves only to pick among those that can serve anyway.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastconv._version import __version__
from fastconv.machine import cpu_model
from fastconv.problem import Problem

FORMAT = 1
WHAT = "fastconv tuning table"
# More than any table needs, and little enough to read whole.
LIMIT_BYTES = 8 << 20
LOCK_SECONDS = 30
# What every algorithm does alike after its sums, and so no reason to prefer one; a precision that
# is allowed, which no algorithm of the backends that are measured makes use of; whether weights
# serve images of other sizes.
_LEFT_OUT = ("batch", "bias", "residual", "activation", "precision", "any_size")


class TableError(ValueError):
    """A file that is not a tuning table, or none that this version reads."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The machine that a table's times are true for."""

    cpu: str
    isa: str
    fastconv: str

    @classmethod
    def here(cls, isa: str) -> Fingerprint:
        """Return this machine's, at an instruction set."""
        return cls(cpu_model(), isa, __version__)

    def __str__(self) -> str:
        return f"{self.cpu} ({self.isa}), fastconv {self.fastconv}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One problem's algorithm, and the seconds an image of every algorithm that was measured."""

    problem: str
    algorithm: str
    seconds: Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The rows of one machine, by problem."""

    machine: Fingerprint
    rows: Mapping[str, Row]

    @classmethod
    def of(cls, machine: Fingerprint, rows: Iterable[Row]) -> Table:
        """Return a table; of two rows for one problem the later stays."""
        return cls(machine, {row.problem: row for row in rows})

    def row(self, problem: Problem) -> Row | None:
        """Return the row of a problem, whatever its batch and epilogue."""
        return self.rows.get(problem_key(problem))


def problem_key(problem: Problem) -> str:
    """Describe a problem of one image in words that tell it from every other."""
    fields = [field.name for field in dataclasses.fields(problem) if field.name not in _LEFT_OUT]
    return " ".join([problem.name, *(f"{name}={_text(getattr(problem, name))}" for name in fields)])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        pairs = any(isinstance(item, tuple) for item in value)
        return "x".join("+".join(map(str, item)) if pairs else str(item) for item in value)
    return str(getattr(value, "name", value))


def read(path: Path) -> Table:
    """Read a table.

    Raises
    ------
    TableError
        For anything but a whole table of this format.
    OSError
        For a file that cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise TableError("it is not a regular file")
    with open(path, "rb") as file:
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise TableError(f"it is larger than {LIMIT_BYTES} bytes")
    try:
        loaded = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise TableError("it is nested too deeply") from None
    except ValueError as error:
        raise TableError(f"it is not JSON: {error}") from None
    return _checked(loaded)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _checked(loaded: Any) -> Table:
    if not isinstance(loaded, dict) or loaded.get("what") != WHAT:
        raise TableError("it is not a tuning table of fastconv")
    version = loaded.get("format")
    if type(version) is not int or version != FORMAT:
        raise TableError(f"its format is not {FORMAT}")
    machine, rows = loaded.get("machine"), loaded.get("rows")
    if not isinstance(machine, dict) or not isinstance(rows, list):
        raise TableError("it lacks its machine or its rows")
    names = [field.name for field in dataclasses.fields(Fingerprint)]
    fingerprint = Fingerprint(*(_word(machine.get(name), 200) for name in names))
    return Table.of(fingerprint, [_checked_row(row) for row in rows])


def _checked_row(row: Any) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("seconds"), dict):
        raise TableError("a row of it is malformed")
    seconds = {_word(name, 80): _seconds(value) for name, value in row["seconds"].items()}
    algorithm = _word(row.get("algorithm"), 80)
    if algorithm not in seconds:
        raise TableError("a row's algorithm was not measured")
    return Row(_word(row.get("problem"), 1000), algorithm, seconds)


def _word(value: Any, longest: int) -> str:
    """Take text that can be printed as it is: no control characters, no line ends."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise TableError("a text of it is missing, too long or not printable")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf or value > 1e9:
        raise TableError("a time of it is not a positive number of seconds")
    return float(value)


def as_text(table: Table) -> str:
    """Write a table as JSON, a row a line, so that people read it and diffs stay small."""
    head = {"what": WHAT, "format": FORMAT, "machine": dataclasses.asdict(table.machine)}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = []
    for key in sorted(table.rows):
        row = table.rows[key]
        fastest_first = dict(sorted(row.seconds.items(), key=lambda item: item[1]))
        rows.append(json.dumps({**dataclasses.asdict(row), "seconds": fastest_first}))
    body = ",\n".join(f"    {row}" for row in rows)
    return "{\n" + ",\n".join(lines) + ',\n  "rows": [\n' + body + "\n  ]\n}\n"


def check_writable(path: Path, machine: Fingerprint, *, replace_others: bool) -> None:
    """Raise what `merge` would raise: better said before measuring than after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.touch()
    temporary.unlink()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    _rows_there(path, machine, replace_others)


def merge(path: Path, new: Table, *, replace_others: bool) -> Table:
    """Add a table's rows to those in a file, as one step that no other process can break into.

    A file that is not a table, or another machine's, is replaced where ``replace_others``, and
    refused elsewhere.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
        rows = [*_rows_there(path, new.machine, replace_others), *new.rows.values()]
        whole = Table.of(new.machine, rows)
        _write(path, as_text(whole))
    return whole


def _rows_there(path: Path, machine: Fingerprint, replace_others: bool) -> list[Row]:
    try:
        there = read(path)
    except FileNotFoundError:
        return []
    except TableError as error:
        if replace_others:
            return []
        raise ValueError(f"{path} is not written over: {error}") from None
    if there.machine == machine:
        return list(there.rows.values())
    if replace_others:
        return []
    raise ValueError(f"{path} is not written over: it is a table of {there.machine}")


def _write(path: Path, text: str) -> None:
    temporary = _beside(path)
    try:
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
