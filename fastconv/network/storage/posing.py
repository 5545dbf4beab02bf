"""From a problem back to the call of the functional API that poses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastconv import problem as problems
from fastconv.problem.recurrent import PARAMETERS
from fastconv.problem.values import LAYOUTS


class Posing(NamedTuple):
    """A function's name, the names of its inputs and parameters, and its other arguments."""

    function: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    options: Mapping[str, Any]


def posing_of(problem: problems.Problem) -> Posing:
    """Return the call that poses a problem.

    It may ask for a little more than the problem holds (how wide a pool was that is undone), so
    callers that need the same problem compare.

    Raises
    ------
    ValueError
        For a problem that no call of the functional API poses.
    """
    for kind, pose in _POSINGS.items():
        if type(problem) is kind:
            return pose(problem)
    raise ValueError(f"no function of fastconv.functional poses a {type(problem).__name__}")


def _layout(channels_last: bool, n: int) -> str:
    return LAYOUTS.get(n, LAYOUTS[2])[channels_last]


def _activation(problem: Any) -> Any:
    found = problem.activation
    return None if found is None else (found.name, *_parameters(found).values())


def _parameters(activation: Any) -> dict[str, Any]:
    """Return an activation's parameters by name; files that older versions read have some alone."""
    names, defaults, *_ = problems.ACTIVATIONS[activation.name]
    if activation.name == "hardswish" and activation.parameters == defaults:
        return {}
    return dict(zip(names, activation.parameters, strict=True))


def _precision(problem: Any) -> dict[str, str]:
    """Return the argument where it is not None: files that older versions read have none."""
    return {} if problem.precision is None else {"precision": problem.precision}


def _conv(problem: Any) -> Posing:
    names = ["stride", "padding", "dilation", "groups", "rtol"]
    more = "padding_mode" if isinstance(problem, problems.ConvProblem) else "output_padding"
    options = {name: getattr(problem, name) for name in (*names, more)}
    options |= {
        "layout": _layout(problem.channels_last, problem.n),
        "activation": _activation(problem),
        **_precision(problem),
    }
    return Posing(problem.name, ("input", "residual"), ("weight", "bias"), options)


def _linear(problem: Any) -> Posing:
    options = {"activation": _activation(problem), "rtol": problem.rtol, **_precision(problem)}
    return Posing("linear", ("input",), ("weight", "bias"), options)


def _matmul(problem: Any) -> Posing:
    return Posing("matmul", ("input", "other"), (), {})


def _attention(problem: Any) -> Posing:
    names = ("query", "key", "value", *(() if problem.mask is None else ("attn_mask",)))
    options = {"scale": problem.scale}
    if problem.causal is not None:
        options["is_causal"] = True
    if problem.query.shape[-3:-2] != problem.key.shape[-3:-2]:
        options["enable_gqa"] = len(problem.lengths) > len(problem.output) - 2
    return Posing("scaled_dot_product_attention", names, (), options)


def _pool(problem: Any) -> Posing:
    names = ["kernel_size", "stride", "padding", "ceil_mode"]
    names += {
        "max": ["dilation", "return_indices"],
        "avg": ["count_include_pad"],
        "weighted": ["count_include_pad"],
        "lp": ["norm_type"],
    }[problem.kind]
    if problem.divisor_override is not None:
        names.append("divisor_override")
    options = {name: getattr(problem, name) for name in names}
    if problem.weights in ("gaussian", "inverse_distance"):
        options["weights"] = problem.weights
    options["layout"] = _layout(problem.channels_last, problem.n)
    return Posing(problem.name, ("input",), ("weights",), options)


def _adaptive_pool(problem: Any) -> Posing:
    options: dict[str, Any] = {"layout": _layout(problem.channels_last, problem.n)}
    if not problem.is_global:
        options["output_size"] = problem.pooled
    if problem.return_indices:
        options["return_indices"] = True
    if problem.norm_type is not None:
        options["p"] = problem.norm_type
    return Posing(problem.name, ("input",), (), options)


def _norm(problem: Any) -> Posing:
    options: dict[str, Any] = {"layout": _layout(problem.channels_last, max(1, len(problem.size)))}
    parameters: tuple[str, ...] = ("weight", "bias")
    if isinstance(problem, problems.LocalResponseNormProblem):
        fields = {name: getattr(problem, name) for name in ("alpha", "beta", "k")}
        return Posing(
            problem.name, ("input",), (), {"size": problem.neighbours, **fields} | options
        )
    options["eps"] = problem.eps
    if problem.name == "batch_norm":
        parameters = ("running_mean", "running_var", *parameters)
    if problem.name == "group_norm":
        options["num_groups"] = problem.groups
    return Posing(problem.name, ("input",), parameters, options)


def _layer_norm(problem: Any) -> Posing:
    options = {"normalized_shape": problem.normalized_shape, "eps": problem.eps}
    return Posing("layer_norm", ("input",), ("weight", "bias"), options)


def _elementwise(problem: Any) -> Posing:
    name, values = problem.activation.name, problem.activation.parameters
    if name == "gelu":
        return Posing(name, ("input",), (), {"approximate": "tanh" if values[0] else "none"})
    return Posing(name, ("input",), (), _parameters(problem.activation))


def _prelu(problem: Any) -> Posing:
    layout = _layout(problem.channels_last, max(1, len(problem.shape) - 2))
    return Posing("prelu", ("input",), ("weight",), {"layout": layout})


def _softmax(problem: Any) -> Posing:
    options: dict[str, Any] = {"dim": problem.axis}
    if problem.result != problem.dtype:
        options["dtype"] = problem.result
    return Posing(problem.name, ("input",), (), options)


def _pad(problem: Any) -> Posing:
    pairs = list(problem.pads)
    options: dict[str, Any] = {"mode": problem.mode}
    if problem.mode == "constant":
        cell = np.frombuffer(problem.value, problem.dtype)
        options["value"] = cell.tolist()[0] if problem.dtype.kind in "biufc" else float(cell[0])
    else:
        # The others pad all spatial dimensions; what is before those is not named.
        last = pairs[-1] == (0, 0) and any(map(any, pairs))
        pairs = pairs[:-1] if last else pairs[1:]
        pairs = pairs[1:] if len(pairs) > 1 and pairs[0] == (0, 0) else pairs
        options["layout"] = _layout(last, len(pairs))
    options["pad"] = tuple(n for pair in reversed(pairs) for n in pair)
    return Posing("pad", ("input",), (), options)


def _interpolate(problem: Any) -> Posing:
    scaled = problem.scale is not None
    size = {"scale_factor": problem.scale} if scaled else {"size": problem.output_size}
    options = {
        **size, "mode": problem.mode, "antialias": problem.antialias,
        "align_corners": True if problem.align_corners else None,
        "layout": _layout(problem.channels_last, len(problem.input_size)),
    }  # fmt: skip
    return Posing("interpolate", ("input",), (), options)


def _shuffle(problem: Any) -> Posing:
    name = "downscale_factor" if problem.inverse else "upscale_factor"
    options = {name: problem.factor, "layout": _layout(problem.channels_last, 2)}
    return Posing(problem.name, ("input",), (), options)


def _windows(problem: Any) -> Posing:
    names = ("kernel_size", "dilation", "padding", "stride")
    options = {name: getattr(problem, name) for name in names}
    if problem.name == "fold":
        options["output_size"] = problem.image_size
    options["layout"] = _layout(problem.channels_last, 2)
    return Posing(problem.name, ("input",), (), options)


def _unpool(problem: Any) -> Posing:
    sizes = list(zip(problem.output_size, problem.input_size, strict=True))
    stride = tuple(max(1, after // before) for after, before in sizes)
    kernel = tuple(
        max(1, after - (before - 1) * s) for (after, before), s in zip(sizes, stride, strict=True)
    )
    options = {
        "kernel_size": kernel, "stride": stride, "output_size": problem.output_size,
        "layout": _layout(problem.channels_last, problem.n),
    }  # fmt: skip
    return Posing(problem.name, ("input", "indices"), (), options)


def _recurrent(problem: Any) -> Posing:
    options: dict[str, Any] = {
        name: getattr(problem, name) for name in ("direction", "layout", "state_layout")
    }
    options["activations"] = tuple((f.name, *f.given) for f in problem.functions)
    if problem.clip != float("inf"):
        options["clip"] = problem.clip
    if problem.kind != "rnn":
        options["gate_order"] = problem.gate_order
    if problem.kind == "lstm":
        options["input_forget"] = problem.input_forget
    if problem.kind == "gru":
        options["reset_after"] = problem.reset_after
    several = (*PARAMETERS, *(f"{name}_reverse" for name in PARAMETERS))
    return Posing(problem.name, ("input", "lengths", "initial_h", "initial_c"), several, options)


_POSINGS: dict[type, Callable[[Any], Posing]] = {
    problems.ConvProblem: _conv,
    problems.ConvTransposeProblem: _conv,
    problems.LinearProblem: _linear,
    problems.MatmulProblem: _matmul,
    problems.AttentionProblem: _attention,
    problems.PoolProblem: _pool,
    problems.AdaptivePoolProblem: _adaptive_pool,
    problems.BatchNormProblem: _norm,
    problems.GroupNormProblem: _norm,
    problems.LocalResponseNormProblem: _norm,
    problems.LayerNormProblem: _layer_norm,
    problems.ElementwiseProblem: _elementwise,
    problems.PreluProblem: _prelu,
    problems.SoftmaxProblem: _softmax,
    problems.PadProblem: _pad,
    problems.InterpolateProblem: _interpolate,
    problems.PixelShuffleProblem: _shuffle,
    problems.UnfoldProblem: _windows,
    problems.FoldProblem: _windows,
    problems.MaxUnpoolProblem: _unpool,
    problems.RecurrentProblem: _recurrent,
}
