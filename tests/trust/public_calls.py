"""A call that is right for every public name, found by its signature: what abuse starts from.

A new function is covered by itself where its parameters have names that are known here or
defaults; else `calls` says what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Sizes of the images: batch, channels, and each spatial size.
BATCH, CHANNELS, SIDE = 2, 4, 9
ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Call:
    """A public callable with arguments that are right."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]
    # The names of its parameters, defaults among them.
    parameters: tuple[str, ...]
    # What else than ValueError and TypeError its docstring names.
    errors: tuple[str, ...] = ()
    # Arguments that are passed by place.
    positional: tuple[str, ...] = ()
    # What it gives, where it takes an ``out`` for that.
    result: Any = None

    def run(self, changes: dict[str, Any]) -> Any:
        """Call with some of the arguments replaced."""
        given = {**self.arguments, **changes}
        first = [given.pop(name) for name in self.positional if name in given]
        return self.function(*first, **given)


def ones(*shape: int) -> Any:
    """Return float32 numbers that are not all alike."""
    return np.linspace(-1, 1, int(np.prod(shape)), dtype="f4").reshape(shape)


def images(n: int) -> Any:
    """Return a batch with ``n`` spatial dimensions."""
    return ones(BATCH, CHANNELS, *(SIDE,) * n)


def rank(name: str) -> int:
    """Return the number of spatial dimensions that a name ends in; 2 where it says none."""
    found = re.search(r"([123])d$", name.lower())
    return int(found[1]) if found else 2


# By function where a parameter's name does not tell, then by parameter; n is the spatial rank.
Makers = dict[str, Callable[[int], Any]]
SPECIAL: dict[str, Makers] = {
    "conv": {"weight": lambda n: ones(6, CHANNELS, *(3,) * n), "bias": lambda n: ones(6)},
    "conv_transpose": {
        "weight": lambda n: ones(CHANNELS, 6, *(3,) * n), "bias": lambda n: ones(6)
    },
    "matmul": {"input": lambda n: ones(BATCH, 3, SIDE), "other": lambda n: ones(SIDE, 5)},
    "scaled_dot_product_attention": {
        key: lambda n: ones(BATCH, CHANNELS, 3, SIDE) for key in ("query", "key", "value")
    },
    "convolve": {"weight": lambda n: ones(6, CHANNELS, 3, 3), "bias": lambda n: ones(6)},
    "linear": {"weight": lambda n: ones(5, SIDE), "bias": lambda n: ones(5)},
    "fold": {"input": lambda n: ones(BATCH, CHANNELS * 9, 49), "output_size": lambda n: (9, 9)},
    "layer_norm": {"weight": lambda n: ones(SIDE), "bias": lambda n: ones(SIDE)},
    "local_response_norm": {"size": lambda n: 3},
    "LocalResponseNorm": {"size": lambda n: 3},
    "interpolate": {"size": lambda n: 5},
    "Upsample": {"size": lambda n: 5}, "UpsamplingBilinear": {"size": lambda n: 5},
    "UpsamplingNearest": {"size": lambda n: 5},
    "max_unpool": {"input": lambda n: np.abs(ones(BATCH, CHANNELS, *(3,) * n))},
    "pixel_unshuffle": {"input": lambda n: ones(BATCH, CHANNELS, 6, 6)},
    "Fold": {"output_size": lambda n: (9, 9)},
    "Unflatten": {"unflattened_size": lambda n: (2, 2)},
    **{kind: {"input": lambda n: ones(5, BATCH, SIDE)} for kind in ("lstm", "gru", "rnn")},
}  # fmt: skip
for _kind, _rows in {"lstm": 12, "gru": 9, "rnn": 3}.items():
    SPECIAL[_kind] |= {
        "weight_ih": lambda n, rows=_rows: ones(rows, SIDE),  # type: ignore[misc]
        "weight_hh": lambda n, rows=_rows: ones(rows, 3),  # type: ignore[misc]
        "bias_ih": lambda n, rows=_rows: ones(rows),  # type: ignore[misc]
    }
COMMON: Makers = {
    "input": images,
    "kernel_size": lambda n: 3,
    "output_size": lambda n: 3,
    "norm_type": lambda n: 2.0,
    "running_mean": lambda n: ones(CHANNELS),
    "running_var": lambda n: np.abs(ones(CHANNELS)) + 1,
    "weight": lambda n: ones(CHANNELS),
    "bias": lambda n: ones(CHANNELS),
    "num_groups": lambda n: 2,
    "num_channels": lambda n: CHANNELS,
    "num_features": lambda n: CHANNELS,
    "normalized_shape": lambda n: SIDE,
    "indices": lambda n: np.broadcast_to(
        np.arange(3**n).reshape((3,) * n), (BATCH, CHANNELS, *(3,) * n)
    ).copy(),
    "pad": lambda n: (1, 2),
    "padding": lambda n: 1,
    "value": lambda n: 0.5,
    "upscale_factor": lambda n: 2,
    "downscale_factor": lambda n: 3,
    "in_channels": lambda n: CHANNELS,
    "out_channels": lambda n: 6,
    "in_features": lambda n: SIDE,
    "input_size": lambda n: SIDE,
    "hidden_size": lambda n: 3,
    "out_features": lambda n: 5,
    "dim": lambda n: 1,
    "seed": lambda n: 1,
}
# Given although they have a default, for the other parameters to matter.
ALWAYS = ("weight", "bias", "size", "dim")


def arguments(name: str, function: Any) -> dict[str, Any]:
    """Find arguments that are right for a name of the functional API or of a layer."""
    n = rank(name)
    special = SPECIAL.get(re.sub(r"[123]d$", "", name), {})
    found: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        key = parameter.name
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if key in special:
            found[key] = special[key](n)
        elif parameter.default is not parameter.empty and (
            (name[0].isupper() and key != "dim") or key not in ALWAYS or key not in COMMON
        ):
            continue
        elif key in COMMON:
            found[key] = COMMON[key](n)
        else:
            raise KeyError(
                f"{name} has a parameter {key!r}: tell tests/trust/public_calls.py a value"
            )
    return found


def parameters(function: Any) -> tuple[str, ...]:
    """Name the parameters of a callable, but for those that gather the rest."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    known = inspect.signature(function).parameters.values()
    return tuple(p.name for p in known if p.kind not in kinds and p.name[0] != "_")


def documented(function: Any) -> tuple[str, ...]:
    """Name the errors that a docstring speaks of."""
    return tuple(sorted(set(re.findall(r"\b[A-Z]\w*Error\b", inspect.getdoc(function) or ""))))


def call_of(name: str, function: Any, given: dict[str, Any], **options: Any) -> Call:
    """Make a call, its parameters read off its signature."""
    return Call(name, function, given, parameters(function), documented(function), **options)


def functional() -> Iterator[Call]:
    """Yield every name of `fastconv.functional`."""
    import fastconv.functional as F

    for name in F.__all__:
        function = getattr(F, name)
        yield call_of(name, function, arguments(name, function))


def layers() -> Iterator[Call]:
    """Yield every layer: made with arguments, and called."""
    from fastconv import nn

    for name in nn.__all__:
        made = getattr(nn, name)
        if name in ("Module", "Parameter", "Identity", "Sequential", "ModuleList", "ModuleDict"):
            continue
        given = arguments(name, made)
        if name == "manual_seed":
            yield call_of(f"nn.{name}", made, given)
            continue
        yield call_of(f"nn.{name}", made, given, positional=())
        layer = made(**given)
        forward = {"input": layer_input(name)}
        if "Unpool" in name:
            forward["indices"] = COMMON["indices"](rank(name))
        yield call_of(
            f"nn.{name}(...)", functools.partial(call, layer), forward, positional=tuple(forward)
        )


def call(layer: Any, input: Any, *rest: Any, **options: Any) -> Any:
    """Call a layer."""
    return layer(input, *rest, **options)


def layer_input(name: str) -> Any:
    """Return an input that a layer made by `arguments` takes."""
    special = {
        "Fold": "fold", "MaxUnpool1d": "max_unpool", "MaxUnpool2d": "max_unpool",
        "MaxUnpool3d": "max_unpool", "LSTM": "lstm", "GRU": "gru", "RNN": "rnn",
    }.get(name)  # fmt: skip
    if special:
        return SPECIAL[special]["input"](rank(name))
    return images(rank(name))


def tools() -> Iterator[Call]:
    """Yield what loads, compiles, explains, measures and shows; all that is left of the names."""
    import fastconv
    from fastconv import nn

    folder = Path(tempfile.mkdtemp(prefix="fastconv-trust-"))
    layer = nn.Sequential(nn.Conv2d(CHANNELS, 6, 3), nn.ReLU(), nn.Linear(7, 5))
    network = fastconv.compile(layer, (BATCH, CHANNELS, SIDE, SIDE))
    network.save(folder / "network.fastconv")
    np.savez(folder / "weights.npz", **{k: np.asarray(v) for k, v in layer.state_dict().items()})
    shape = images(2).shape
    feeds = {network.inputs[0].name: images(2)}
    model = str(ROOT / "examples" / "digits" / "lenet5.onnx")
    rows: list[tuple[str, Any, dict[str, Any]]] = [
        ("InferenceSession", fastconv.InferenceSession, {"path_or_bytes": model}),
        ("Network", fastconv.Network,
         {"function": layer, "inputs": network.inputs, "outputs": network.outputs}),
        ("compile", fastconv.compile, {"module": layer, "input_shape": shape}),
        ("explain", fastconv.explain, {"function": "relu", "input": shape, "measure": False}),
        ("keras_weights", fastconv.keras_weights,
         {"layer": "Dense", "weights": [ones(9, 5), ones(5)]}),
        ("load", fastconv.load, {"path": str(folder / "network.fastconv")}),
        ("load_weights", fastconv.load_weights, {"path": str(folder / "weights.npz")}),
        ("set_num_threads", fastconv.set_num_threads, {"n": 1}),
        ("set_tuning", fastconv.set_tuning, {"path": "off"}),
        ("tune", fastconv.tune, {"output": str(folder / "table.json")}),
        ("warmup", fastconv.warmup, {"network": network, "input_shape": shape}),
        ("Network.__call__", network.__call__, {"input": images(2)}),
        ("Network.explain", network.explain, {"input_shape": shape}),
        ("Network.outputs_of", network.outputs_of, {"names": ["0"], "input": images(2)}),
        ("Network.profile", network.profile, {"input": images(2), "runs": 1}),
        ("Network.run", network.run, {"outputs": None, "feeds": feeds}),
        ("Network.save", network.save, {"path": str(folder / "saved.fastconv")}),
        ("Network.summary", network.summary, {"input_shape": shape}),
        ("Network.trace", network.trace, {"input_shape": shape}),
        ("Network.with_precision", network.with_precision, {"precision": "tf32"}),
        ("Network.within", network.within, {"rtol": 1e-3}),
        ("models.convnet1", fastconv.models.convnet1, {"num_classes": 10}),
        ("nn.Module.load_state_dict", layer.load_state_dict, {"state_dict": layer.state_dict()}),
        ("nn.Module.summary", layer.summary, {"input_shape": shape}),
        ("nn.Module.to", layer.to, {"dtype": "float32"}),
        ("Parameter", fastconv.Parameter, {"value": ones(3)}),
        ("nn.Parameter", nn.Parameter, {"value": ones(3)}),
        ("nn.Sequential", nn.Sequential, {"args": layer}),
        ("nn.ModuleList", nn.ModuleList, {"modules": [layer]}),
        ("nn.ModuleDict", nn.ModuleDict, {"modules": {"a": layer}}),
    ]  # fmt: skip
    # What stands for ``*arguments`` is passed by place.
    placed = {
        "explain": ("function", "input"), "Network.__call__": ("input",),
        "Network.outputs_of": ("names", "input"), "Network.profile": ("input",),
        "nn.Sequential": ("args",),
    }  # fmt: skip
    for name, function, given in rows:
        made = call_of(name, function, given, positional=placed.get(name, ()))
        made.parameters = tuple(dict.fromkeys((*given, *made.parameters)))
        yield made


def models() -> Iterator[Call]:
    """Yield every model."""
    from fastconv import models

    special = {"VGG": {"depth": 11, "batch_norm": False},
               "ResNet": {"block": models.BasicBlock, "blocks": (2, 2, 2, 2)}}  # fmt: skip
    for name in models.__all__:
        made = getattr(models, name)
        yield call_of(f"models.{name}", made, {"num_classes": 10, **special.get(name, {})})


def doors() -> Iterator[Call]:
    """Yield what opens to other libraries: onnx's backend and sessions, PyTorch, pictures."""
    import onnx
    import torch

    import fastconv
    import fastconv.onnx
    import fastconv.plot
    import fastconv.torch

    network = fastconv.load(ROOT / "examples" / "digits" / "lenet5.onnx")
    model = onnx.load(ROOT / "examples" / "digits" / "lenet5.onnx")
    digit, cells = ones(1, 1, 28, 28), ones(2, 3)
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    prepared = fastconv.onnx.prepare(model)
    session = fastconv.InferenceSession(model.SerializeToString())
    feed = {session.get_inputs()[0].name: digit}
    ort_value = fastconv.onnx.OrtValue
    values = {name: ort_value.ortvalue_from_numpy(value) for name, value in feed.items()}
    module = torch.nn.Sequential(torch.nn.Conv2d(CHANNELS, 6, 3), torch.nn.ReLU()).eval()
    example = torch.ones(BATCH, CHANNELS, SIDE, SIDE)
    rows: list[tuple[str, Any, dict[str, Any]]] = [
        ("onnx.is_compatible", fastconv.onnx.is_compatible, {"model": model}),
        ("onnx.prepare", fastconv.onnx.prepare, {"model": model}),
        ("onnx.run_model", fastconv.onnx.run_model, {"model": model, "inputs": [digit]}),
        ("onnx.run_node", fastconv.onnx.run_node, {"node": node, "inputs": [cells]}),
        ("onnx.supports_device", fastconv.onnx.supports_device, {"device": "CPU"}),
        ("onnx.PreparedModel.run", prepared.run, {"inputs": [digit]}),
        ("InferenceSession.run", session.run, {"output_names": None, "input_feed": feed}),
        ("InferenceSession.run_with_ort_values", session.run_with_ort_values,
         {"output_names": None, "input_dict_ort_values": values}),
        ("onnx.OrtValue.ortvalue_from_numpy", ort_value.ortvalue_from_numpy, {"numpy_obj": digit}),
        ("onnx.OrtValue.ortvalue_from_shape_and_type", ort_value.ortvalue_from_shape_and_type,
         {"shape": [2, 3], "element_type": "float32"}),
        ("onnx.OrtValue.update_inplace", ort_value.ortvalue_from_numpy(digit).update_inplace,
         {"data": digit}),
        ("onnx.IOBinding.bind_cpu_input", session.io_binding().bind_cpu_input,
         {"name": "image", "arr_on_cpu": digit}),
        ("plot.feature_maps", fastconv.plot.feature_maps, {"network": network, "image": digit}),
        ("torch.convert", fastconv.torch.convert, {"module": module, "example_inputs": example}),
    ]  # fmt: skip
    for name, function, given in rows:
        yield call_of(name, function, given)


# Names that take nothing, or are plain records of their fields.
TAKING_NOTHING = ("SessionOptions", "__version__", "get_num_threads", "show_config")
