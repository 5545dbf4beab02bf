"""Running images through a network in batches, and the top classes of what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastconv.cli.images import Array, Form
from fastconv.network import Network


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One image's classes, best first, with their scores and probabilities."""

    image: str
    classes: tuple[int, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]


def classify(
    network: Network,
    images: Iterable[tuple[str, Array]],
    form: Form,
    *,
    top: int,
    batch_size: int,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[Prediction]:
    """Yield a prediction an image; ``done`` hears how many images each batch finished.

    Raises
    ------
    ValueError
        For a network whose first output is not a vector of scores per image.
    """
    for names, batch in _batches(images, form, _batch_limit(network, batch_size)):
        outputs = network(batch)
        scores = np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)
        if scores.ndim < 2 or scores.shape[0] != len(names):
            raise ValueError(
                f"the network's output of shape {list(scores.shape)} is not a vector of scores for "
                f"each of {len(names)} images"
            )
        for name, row in zip(names, scores.reshape(len(names), -1), strict=True):
            yield _predict(name, row, top)
        done(len(names))


def _batch_limit(network: Network, batch_size: int) -> int:
    fixed = network.inputs[0].shape[0]
    return fixed if isinstance(fixed, int) else batch_size


def _batches(
    images: Iterable[tuple[str, Array]], form: Form, limit: int
) -> Iterator[tuple[list[str], Array]]:
    """Put images of one shape together, in order, at most ``limit`` at once."""
    names: list[str] = []
    held: list[Array] = []
    for name, pixels in images:
        try:
            values = form.prepare(pixels)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if held and (len(held) == limit or held[0].shape != values.shape):
            yield names, np.stack(held)
            names, held = [], []
        names.append(name)
        held.append(values)
    if held:
        yield names, np.stack(held)


def _predict(name: str, scores: Array, top: int) -> Prediction:
    order = _descending(scores)[:top]
    probabilities = _probabilities(scores)
    return Prediction(
        name,
        tuple(int(i) for i in order),
        tuple(float(scores[i]) for i in order),
        tuple(float(probabilities[i]) for i in order),
    )


def _descending(scores: Array) -> Array:
    """Return places from the best score on, the first of equal ones first, NaN last."""
    if scores.dtype.kind in "iub":  # which have no negative of their own dtype
        backwards = np.argsort(scores[::-1], kind="stable")[::-1]
        return np.asarray(len(scores) - 1 - backwards)
    return np.argsort(-scores, kind="stable")


def _probabilities(scores: Array) -> Any:
    """Return scores that are probabilities already as they are, others through softmax.

    Unsigned integers and truths are probabilities in other units, such as 1/256.
    """
    wide = scores.astype(np.float64)
    total = wide.sum()
    if scores.dtype.kind in "ub":
        return wide / total if total else wide
    if wide.min() >= 0 and abs(total - 1) < 1e-3:
        return wide
    raised = np.exp(wide - wide.max())
    return raised / raised.sum()
