"""Pictures of many sizes through rapidocr, by ONNX Runtime and by fastconv in its place.

``python -m benchmarks.packages FOLDER --sizes`` runs it: a process for each engine, in turns, with
the Python that the packages are installed for. Each picture is seen once, so that what a new size
costs counts. ``python -m benchmarks.pictures ENGINE THREADS`` is one of those processes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ENGINES = ("fastconv", "onnxruntime")
# Width and height: photographs and screenshots of receipts, signs and pages, all different.
SIZES = (
    (480, 320), (300, 200), (640, 480), (512, 384), (720, 405), (800, 600), (360, 640), (600, 450),
    (540, 720), (404, 303), (690, 260), (560, 420), (450, 600), (768, 432), (333, 500), (620, 350),
    (500, 375), (420, 315), (750, 500), (576, 324),
)  # fmt: skip
LINE_WORDS = (
    "convolution", "stride", "padding", "kernel", "channel", "bias", "dilation", "batch", "tensor",
)  # fmt: skip


def text_lines(number: int) -> tuple[str, ...]:
    """Return lines of text of other lengths for each picture, as the recogniser meets them."""
    words = LINE_WORDS
    turned = words[number % len(words) :] + words[: number % len(words)]
    return tuple(" ".join(turned[: 1 + (number + line) % 4]) for line in range(4))


def run(engine: str, threads: int) -> dict[str, Any]:
    """Return the seconds of making the engine and of each picture, and the words that it read."""
    import cv2
    from rapidocr_onnxruntime import RapidOCR

    from tests.packages.inputs import text_picture

    cv2.setNumThreads(threads)
    pictures = [text_picture(*size, text_lines(i)) for i, size in enumerate(SIZES)]
    begin = time.perf_counter()
    ocr = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
    made = time.perf_counter() - begin
    seconds, words = [], []
    for picture in pictures:
        begin = time.perf_counter()
        lines, _ = ocr(picture)
        seconds.append(time.perf_counter() - begin)
        words.append([text for _, text, _ in lines or []])
    return {"engine": engine, "made": made, "seconds": seconds, "words": words}


def contest(folder: Path, threads: int, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run both engines in turns, each time in a process of its own.

    Raises
    ------
    RuntimeError
        Where one of them fails, with what it wrote.
    """
    own = folder.resolve().parents[2] / "bin" / "python"
    python = own if own.exists() else Path(sys.executable)
    root = str(Path(__file__).resolve().parents[1])
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for turn in range(rounds):
        for engine in ENGINES if turn % 2 == 0 else ENGINES[::-1]:
            done = subprocess.run(
                [str(python), "-m", "benchmarks.pictures", engine, str(threads)],
                env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": str(threads)},
                cwd=root, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                raise RuntimeError(f"{engine} failed: {done.stderr[-2000:]}")
            found[engine].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def report(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the median totals, their ratio, the picture that loses most, and what was read."""
    totals, each, lines = {}, {}, []
    for engine, runs in found.items():
        columns = zip(*(run["seconds"] for run in runs), strict=True)
        each[engine] = [statistics.median(column) for column in columns]
        totals[engine] = statistics.median(sum(run["seconds"]) for run in runs)
        made = statistics.median(run["made"] for run in runs)
        lines.append(
            f"{engine}: {totals[engine]:.3f} s for {len(SIZES)} pictures, {made:.3f} s to start"
        )
    ours, theirs = (each[engine] for engine in ENGINES)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    worst = ratios.index(min(ratios))
    ratio, (width, height) = totals["onnxruntime"] / totals["fastconv"], SIZES[worst]
    lines.append(f"ratio {ratio:.2f}; least {ratios[worst]:.2f}, at {width} x {height}")
    words = {engine: runs[0]["words"] for engine, runs in found.items()}
    count = sum(len(line) for line in words["onnxruntime"])
    same = words["fastconv"] == words["onnxruntime"]
    lines.append(
        f"lines read: {count}, " + ("the same by both" if same else "NOT the same by both")
    )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "fastconv":
        import fastconv.onnx

        fastconv.onnx.install()
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
