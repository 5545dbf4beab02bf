"""Pictures, labels and scores as they come from cameras, editors and quantised networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.cli.classify import classify
from fastconv.cli.images import Form, read_images
from fastconv.network import Network, Port

PIL = pytest.importorskip("PIL.Image", reason="the command line reads pictures here")
main = pytest.importorskip("fastconv.cli.main", reason="the command line needs click")

# What each orientation of EXIF says was done to the picture: (transposed, rows, columns turned).
TURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[:, ::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_picture_with_an_orientation_is_read_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = tmp_path / "photo.png"
    stored = PIL.fromarray(np.ascontiguousarray(TURNED[orientation](upright)))
    exif = PIL.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)
    ((_, pixels),) = read_images([str(path)])
    np.testing.assert_array_equal(pixels, upright)


def test_picture_of_sixteen_bit_greys_is_read_in_eight(tmp_path: Path) -> None:
    greys = np.array([[0, 257, 32768], [65535, 1000, 40000]], np.uint16)
    path = tmp_path / "grey.png"
    PIL.fromarray(greys).save(path)
    ((_, pixels),) = read_images([str(path)])
    assert (pixels.dtype, pixels.shape) == (np.dtype(np.uint8), (2, 3, 1))
    np.testing.assert_array_equal(pixels[:, :, 0], np.rint(greys / 257))
    form = Form.of(Port("x", (1, 3, 4, 6), "float32"))
    assert form.prepare(pixels).shape == (3, 4, 6)


def test_labels_with_a_byte_order_mark_are_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("tench\nshark\n", encoding="utf-8-sig")
    assert main._read_labels(str(path)) == ["tench", "shark"]


def scored(scores: Any) -> Any:
    """Return the prediction of a network that gives these scores."""
    row = np.asarray(scores)
    port = Port("x", ("batch", 1, 2, 2), "float32")
    out = Port("y", ("batch", len(row)), row.dtype.name)
    network = Network(lambda x: np.broadcast_to(row, (len(x), len(row))), [port], [out])
    images = [("one", np.zeros((2, 2, 1), np.uint8))]
    (prediction,) = classify(network, images, Form.of(port), top=3, batch_size=1)
    return prediction


@pytest.mark.parametrize(
    ("scores", "classes", "probabilities"),
    [
        (np.array([0, 200, 56, 0], np.uint8), (1, 2, 0), (200 / 256, 56 / 256, 0)),
        (np.array([False, True, False]), (1, 0, 2), (1, 0, 0)),
        (np.array([False, False]), (0, 1), (0, 0)),
        (np.array([-128, 3, 3, 2], np.int8), (1, 2, 3), None),
        (np.array([5, np.iinfo(np.int64).min, 7]), (2, 0, 1), None),
        (np.array([0.1, np.nan, 0.7]), (2, 0, 1), None),
    ],
)
def test_scores_of_any_dtype_are_ordered(scores: Any, classes: Any, probabilities: Any) -> None:
    found = scored(scores)
    assert found.classes == classes
    assert found.scores == pytest.approx(tuple(map(float, scores[list(classes)])), nan_ok=True)
    if probabilities is not None:
        assert found.probabilities == pytest.approx(probabilities)
