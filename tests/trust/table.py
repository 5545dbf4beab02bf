"""Print the rows that the checks of promises recorded: ``python -m tests.trust.table PATH``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rich.console
import rich.markup
import rich.table


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows by topic, then as they were recorded."""
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(found, key=lambda row: topic(row["test"]))


def topic(test: str) -> str:
    """Name a test's topic: that of its file."""
    return Path(test.partition("::")[0]).stem.removeprefix("test_")


def main(path: Path) -> int:
    console = rich.console.Console()
    if not path.exists():
        console.print(f"{path}: no check has recorded a row")
        return 1
    found = rows(path)
    table = rich.table.Table("topic", "promise", "what was done", "figure", title="Promises")
    last = None
    for row in found:
        here = topic(row["test"])
        if last not in (None, here):
            table.add_section()
        style = "bold red" if row["figure"] == "FAILED" else None
        cells = (row["promise"], row["what"], row["figure"])
        table.add_row("" if here == last else here, *map(rich.markup.escape, cells), style=style)
        last = here
    console.print(table)
    broken = sum(row["figure"] == "FAILED" for row in found)
    console.print(f"{len(found) - broken} rows hold, {broken} tests failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
