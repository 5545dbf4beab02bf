"""Files that are damaged or hostile: documented errors, no code run, no memory, no hang."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.trust import damaged_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it limits a process's memory")
PROMISE = "a damaged or hostile file ends in a ValueError, and runs nothing"


@pytest.mark.parametrize("kind", damaged_files.KINDS)
def test_damaged_files(
    kind: str, scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    # Each file that was made to harm is among them.
    least = len(damaged_files.bombs(kind)) + 40
    count = max(least, scale(0, 10_000))
    wrong, counts = damaged_files.failures(kind, 0, 0, count)
    assert wrong == []
    assert sum(counts.values()) == count
    assert counts["ValueError"] > count // 3
    told(
        PROMISE,
        f"*.{kind}: bits, lengths, headers, members, hostile pickles, bombs, deep nesting",
        f"{count:,} files: {counts['ValueError']:,} refused, {counts['result']:,} read; no code "
        f"run, no growth above {damaged_files.MOST_GROWTH >> 20} MiB, none over 20 s",
    )


def test_damaged_onnx_models(
    scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    pytest.importorskip("onnx", reason="it makes the models")
    from tests.onnx_mutations import MOST_GROWTH, failures

    # Few in the short form: tests/formats/test_onnx_hardening.py draws hundreds in every run.
    count = scale(20, 10_000)
    wrong, counts = failures(11, 0, count)
    assert wrong == []
    told(
        PROMISE,
        "*.onnx: fields, names, numbers and bytes of two networks and onnx's node tests",
        f"{count:,} models: {counts['ValueError'] + counts['TypeError']:,} refused, "
        f"{counts['result']:,} run; no growth above {MOST_GROWTH >> 20} MiB",
    )
