"""PyTorch's own samples of its operators, as calls of `fastconv.functional`.

Names and argument orders are torch's, so that a sample's arguments pass as they are; only tensors
become arrays, and dtypes NumPy's.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import torch

import fastconv.functional as F

Array = np.ndarray[Any, Any]

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip
# Which of torch's operators outside `nn.functional` have their names here.
PLAIN = ("softmax", "log_softmax", "sigmoid", "tanh")
PREFIX = "nn.functional."
# Those that do another thing in training.
TRAINED = ("batch_norm", "dropout")


class Operator(NamedTuple):
    """An operator that fastconv has, with what torch's lists say of it."""

    info: Any
    name: str

    @property
    def label(self) -> str:
        """Name the operator and its variant, as torch's lists do."""
        return f"{self.name} {self.info.variant_test_name}".strip()

    @property
    def ours(self) -> Any:
        """Return fastconv's function."""
        return getattr(F, self.name)

    @property
    def theirs(self) -> Any:
        """Return torch's function: that of the list may wrap it."""
        return getattr(torch.nn.functional, self.name, None) or getattr(torch, self.name)

    @property
    def dtypes(self) -> tuple[Any, ...]:
        """Return the dtypes that torch serves on a CPU, and NumPy has."""
        return tuple(dtype for dtype in DTYPES if dtype in self.info.dtypes)


@functools.cache
def listed() -> tuple[Any, ...]:
    """Read torch's list: some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return tuple(op_db)


@functools.cache
def listed_modules() -> tuple[Any, ...]:
    """Read torch's list of modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db
    return tuple(module_db)


@functools.cache
def operators() -> tuple[Operator, ...]:
    """Return those of torch's operators that fastconv has."""
    found = []
    for info in listed():
        name = info.name.removeprefix(PREFIX)
        here = info.name.startswith(PREFIX) or name in PLAIN
        if here and name in F.__all__ and info.dtypes:
            found.append(Operator(info, name))
    return tuple(found)


def not_offered() -> list[str]:
    """Name what torch lists in nn.functional and fastconv has not."""
    names = {info.name.removeprefix(PREFIX) for info in listed() if PREFIX in info.name}
    return sorted(names - set(F.__all__))


class Sample(NamedTuple):
    """The arguments of one call, as torch takes them."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def cast(self, change: Any) -> Sample:
        """Change the tensors."""
        return Sample(mapped(change, self.args), mapped(change, self.kwargs))

    def arrays(self) -> Sample:
        """Return the call as fastconv takes it."""
        return self.cast(argument)

    def __str__(self) -> str:
        words = [shown(value) for value in self.args]
        words += [f"{name}={shown(value)}" for name, value in self.kwargs.items()]
        return f"({', '.join(words)})"


def samples(operator: Operator, dtype: Any) -> Iterator[Sample]:
    """Yield torch's samples of an operator, drawn from one seed."""
    torch.manual_seed(0)
    drawn = operator.info.reference_inputs("cpu", dtype)
    for sample in drawn:
        kwargs = dict(sample.kwargs)
        # Training is random or depends on the batch: see `test_training_is_refused`.
        if operator.name in TRAINED:
            kwargs["training"] = False
        yield Sample((sample.input, *sample.args), kwargs)


def mapped(change: Any, value: Any) -> Any:
    """Apply a change to what is in tuples, lists and dicts."""
    if isinstance(value, dict):
        return {name: mapped(change, item) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(change, item) for item in value)
    return change(value)


def argument(value: Any) -> Any:
    """Return an argument of torch's as NumPy knows it."""
    if isinstance(value, torch.Tensor):
        return array(value)
    if isinstance(value, torch.dtype):
        return array(torch.empty(0, dtype=value)).dtype
    return tuple(value) if isinstance(value, torch.Size) else value


def array(tensor: Any) -> Array:
    """View a tensor as an array, strides and all."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy())


def widened(value: Any) -> Any:
    """Return a tensor in the widest dtype of its kind."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype.is_complex:
        return value.to(torch.complex128)
    if value.dtype.is_floating_point:
        return value.to(torch.float64)
    return value if value.dtype == torch.bool else value.to(torch.int64)


def sizes(value: Any) -> Any:
    """Return a tensor's absolute values."""
    return value.abs() if isinstance(value, torch.Tensor) else value


def shown(value: Any) -> str:
    """Show an argument in short."""
    if isinstance(value, torch.Tensor):
        strides = "" if value.is_contiguous() else f" strides {list(value.stride())}"
        return f"{str(value.dtype)[6:]}{list(value.shape)}{strides}"
    return repr(value)
