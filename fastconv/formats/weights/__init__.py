"""Weights from files as arrays by name, for ``load_state_dict``. No file can run anything."""

from fastconv.formats.weights.files import load_weights
from fastconv.formats.weights.keras import keras_weights

__all__ = ["keras_weights", "load_weights"]
