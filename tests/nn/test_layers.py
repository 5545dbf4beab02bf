"""Every layer against its namesake in torch: signature, repr, weights by name, output."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import fastconv.functional as F
from fastconv import nn
from tests.tolerance import sum_tolerance

Array = np.ndarray[Any, Any]
Case = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]

SIGNAL, IMAGE, VOLUME = (2, 4, 11), (2, 4, 9, 8), (1, 4, 6, 5, 7)
BY_RANK = {1: SIGNAL, 2: IMAGE, 3: VOLUME}


def layers() -> list[Case]:
    """(class, arguments, options, input shape) of each layer and its main options."""
    cases: list[Case] = []
    for n, shape in BY_RANK.items():
        add = lambda name, *args, n=n, shape=shape, **options: cases.append(  # noqa: E731
            (f"{name}{n}d", args, options, shape)
        )
        add("Conv", 4, 6, 3)
        add("Conv", 4, 6, 3, 2, 1, 2, 2, False, "zeros")
        add("Conv", 4, 2, 3, padding="same", padding_mode="reflect")
        add("Conv", 4, 8, 2, padding=1, groups=4, padding_mode="circular")
        add("ConvTranspose", 4, 6, 3)
        add("ConvTranspose", 4, 6, 3, 2, 1, 1, 2, False, 2)
        add("MaxPool", 2)
        add("MaxPool", 3, 2, 1, 1, True, True)
        add("AvgPool", 2)
        add("AvgPool", 3, 2, 1, True, False)
        add("LPPool", 2, 3, 2)
        add("AdaptiveMaxPool", 3, True)
        add("AdaptiveMaxPool", (3,) * n)
        add("AdaptiveAvgPool", 2)
        add("ConstantPad", 2, 3.5)
        add("ConstantPad", (1, -1) * n, -1)
        add("ZeroPad", 1)
        add("ReflectionPad", 2)
        add("ReplicationPad", 3)
        add("CircularPad", (2, 1) * n)
        add("BatchNorm", 4)
        add("BatchNorm", 4, 1e-3, None, False)
        add("BatchNorm", 4, bias=False)
        add("InstanceNorm", 4)
        add("InstanceNorm", 4, 1e-3, 0.2, True, True)
        add("Dropout", 0.3)
    for shape in ((2, 4), (3, 4, 5)):
        cases.append(("BatchNorm1d", (4,), {}, shape))
    elementwise: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("ReLU", (), {}), ("ReLU", (True,), {}), ("ReLU6", (), {}), ("LeakyReLU", (0.2, True), {}),
        ("LeakyReLU", (), {}), ("PReLU", (), {}), ("PReLU", (4, 0.1), {}), ("ELU", (1.5,), {}),
        ("SELU", (), {}), ("CELU", (0.7,), {}), ("GELU", (), {}), ("GELU", ("tanh",), {}),
        ("SiLU", (), {}), ("Mish", (True,), {}), ("Hardswish", (), {}), ("Hardsigmoid", (), {}),
        ("Hardtanh", (), {}), ("Hardtanh", (-2, 3.0), {}), ("Sigmoid", (), {}), ("Tanh", (), {}),
        ("Softplus", (), {}), ("Softplus", (2, 10), {}), ("Softsign", (), {}),
        ("Softmax", (1,), {}), ("Softmax", (-1,), {}), ("LogSoftmax", (), {"dim": 2}),
        ("Softmax2d", (), {}), ("Identity", (1, 2), {"any": 3}), ("Dropout", (), {}),
        ("AlphaDropout", (0.1,), {}), ("Flatten", (), {}), ("Flatten", (2, 3), {}),
        ("Unflatten", (1, (2, -1)), {}), ("GroupNorm", (2, 4), {}),
        ("GroupNorm", (4, 4, 1e-3, False), {}), ("LayerNorm", ((9, 8),), {}),
        ("LayerNorm", (8, 1e-3, True, False), {}), ("LayerNorm", ([9, 8], 1e-3, False), {}),
        ("LocalResponseNorm", (3,), {}), ("LocalResponseNorm", (2, 0.1, 0.5, 2.0), {}),
        ("Linear", (8, 5), {}), ("Linear", (8, 5, False), {}), ("PixelShuffle", (2,), {}),
        ("Upsample", (), {"scale_factor": 2}), ("Upsample", ((5, 4),), {}),
        ("Upsample", (), {"scale_factor": (1.5, 2), "mode": "bilinear", "align_corners": True}),
        ("Upsample", (7,), {"mode": "bicubic"}), ("UpsamplingNearest2d", (None, 2), {}),
        ("UpsamplingBilinear2d", (), {"size": (4, 5)}), ("Unfold", ((2, 3), 2, 1), {}),
    ]  # fmt: skip
    cases += [(name, args, options, IMAGE) for name, args, options in elementwise]
    cases.append(("PixelUnshuffle", (2,), {}, (3, 2, 4, 6)))
    cases.append(("Fold", ((5, 6), 2, 1, 0, 1), {}, (2, 12, 20)))
    return cases


def pair(case: Case, dtype: Any = torch.float64) -> tuple[Any, Any]:
    """A layer of torch with drawn weights and statistics, and ours with the same."""
    name, arguments, options, _ = case
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*arguments, **options).to(dtype).eval()
    for key, buffer in theirs.named_buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5 if "var" in key else -1.0, 1.5)
    for parameter in theirs.parameters():
        torch.nn.init.uniform_(parameter, -1.0, 1.0)
    ours = getattr(nn, name)(*arguments, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def as_tuple(result: Any) -> tuple[Any, ...]:
    """One result or several, as a tuple."""
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("case", layers(), ids=lambda case: f"{case[0]}{case[1]}{case[2]}")
def test_a_layer_is_torch_s(case: Case) -> None:
    ours, theirs = pair(case)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal(case[3])
    if case[0].startswith("LPPool"):
        x = np.abs(x)
    results = as_tuple(ours(x))
    expected = as_tuple(theirs(torch.from_numpy(x)))
    assert len(results) == len(expected)
    for result, want in zip(results, expected, strict=True):
        # No layer here sums more than 100 products of numbers of about 1.
        np.testing.assert_allclose(
            result, want.detach().numpy(), rtol=1e-13, atol=sum_tolerance(np.float64, 100)
        )


@pytest.mark.parametrize("name", sorted({case[0] for case in layers()}))
def test_a_constructor_is_torch_s(name: str) -> None:
    if name in ("Softsign", "Sigmoid", "Tanh", "Softmax2d"):
        assert not inspect.signature(getattr(nn, name)).parameters
        return
    ours = inspect.signature(getattr(nn, name)).parameters
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    # torch's Hardtanh has two more names, deprecated, for its first two arguments.
    gone = ("device", "min_value", "max_value")
    positional = {
        key: p.default
        for key, p in theirs.items()
        if key not in (*gone, "dtype") and p.kind is not p.KEYWORD_ONLY
    }
    mine = {key: p.default for key, p in ours.items() if p.kind is not p.KEYWORD_ONLY}
    assert list(mine) == list(positional)
    for key, default in mine.items():
        assert default == positional[key] or default is positional[key]
    assert ("dtype" in ours) == ("dtype" in theirs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_undoes_pooling(n: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, *(8, 6, 4)[:n]))
    pool = getattr(nn, f"MaxPool{n}d")(2, return_indices=True)
    unpool = getattr(nn, f"MaxUnpool{n}d")(2)
    theirs = getattr(torch.nn, f"MaxUnpool{n}d")(2)
    assert repr(unpool) == repr(theirs)
    values, indices = pool(x)
    given = torch.from_numpy(values), torch.from_numpy(indices)
    np.testing.assert_array_equal(unpool(values, indices), theirs(*given).numpy())
    x = np.random.default_rng(0).standard_normal((2, 3, *(9, 7, 5)[:n]))
    values, indices = pool(x)
    given = torch.from_numpy(values), torch.from_numpy(indices)
    sized = unpool(values, indices, output_size=x.shape)
    np.testing.assert_array_equal(sized, theirs(*given, output_size=x.shape).numpy())


def test_transposed_convolution_reaches_an_output_size() -> None:
    ours, theirs = pair(("ConvTranspose2d", (4, 3, 3, 2, 1), {}, IMAGE))
    x = np.random.default_rng(0).standard_normal(IMAGE)
    for size in ((17, 15), (18, 16), [2, 3, 17, 16]):
        want = theirs(torch.from_numpy(x), output_size=size).detach().numpy()
        result = ours(x, output_size=size)
        np.testing.assert_allclose(result, want, rtol=0, atol=sum_tolerance(np.float64, 100))
    with pytest.raises(ValueError, match=r"valid sizes range from \(17, 15\) to \(18, 16\)"):
        ours(x, output_size=(19, 16))


def test_our_own_pools() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    weights = np.arange(1.0, 10.0, dtype=np.float32).reshape(3, 3)
    named, given = nn.WeightedPool2d(3, 2, 1), nn.WeightedPool2d(3, 2, 1, weights)
    np.testing.assert_array_equal(named(x), F.weighted_pool2d(x, 3, 2, 1))
    np.testing.assert_array_equal(given(x), F.weighted_pool2d(x, 3, 2, 1, weights))
    assert list(given.state_dict()) == ["weights"]
    assert "weights='gaussian'" in repr(named)
    assert "array of shape (3, 3)" in repr(given)
    np.testing.assert_array_equal(nn.GlobalMaxPool()(x), F.global_max_pool(x))
    np.testing.assert_array_equal(nn.GlobalAvgPool()(x), F.global_avg_pool(x))
    np.testing.assert_array_equal(nn.GlobalLPPool(3)(x), F.global_lp_pool(x, 3))
    assert repr(nn.GlobalLPPool(3)) == "GlobalLPPool(norm_type=3)"


def test_what_torch_s_convolutions_lack() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 9)).astype(np.float32)
    causal = nn.Conv1d(2, 3, 3, padding="causal", dilation=2)
    want = F.conv1d(x, causal.weight, causal.bias, padding=((4, 0),), dilation=2)
    np.testing.assert_array_equal(causal(x), want)
    assert nn.Conv1d(2, 3, 3, stride=2, padding="same")(x).shape == (1, 3, 5)
    pairs = nn.Conv1d(2, 3, 3, padding=((4, 0),), dilation=2)
    assert pairs(x).shape == (1, 3, 9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels must be divisible by groups"),
        (lambda: nn.Conv2d(0, 4, 3), "in_channels should be greater than zero"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding must be one of same, valid"),
        (lambda: nn.Conv2d(3, 4, 3, padding="causal"), "padding must be one of same, valid"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="wrap"), "padding_mode must be one of"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), 'Only "zeros" padding mode'),
        (lambda: nn.GroupNorm(3, 4), "must be divisible by num_groups"),
        (lambda: nn.Dropout(1.5), "dropout probability has to be between 0 and 1"),
        (lambda: nn.Hardtanh(1, 1), "max_val must be above min_val"),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 3, 4))), r"expected 4D input \(got 3D input\)"),
        (
            lambda: nn.BatchNorm1d(3, track_running_stats=False)(np.zeros((2, 3))),
            "an image's result would depend on the rest of the batch",
        ),
        (lambda: nn.Flatten(3, 2)(np.zeros((1, 2, 3, 4))), "start_dim cannot come after end_dim"),
        (lambda: nn.Flatten(5)(np.zeros((1, 2))), "Dimension out of range"),
        (lambda: nn.Unflatten(1, (2, 2))(np.zeros((1, 3))), "don't multiply up to the size"),
    ],
)
def test_layers_refuse(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_devices_are_not_accepted() -> None:
    with pytest.raises(TypeError, match="device"):
        nn.Linear(2, 2, device="cpu")  # type: ignore[call-arg]
