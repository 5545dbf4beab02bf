"""Conversion of modules: the example is always served, and a batch of 1 like any other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fastconv
from fastconv.formats.torch import exporting
from tests.converted import Fn, check, compare, image


class ChannelsLast(nn.LayerNorm):
    """Layer normalisation over the channels of an image, as ConvNeXt has it."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A block of ConvNeXt's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2 * width)
        self.tail = nn.Linear(2 * width, width)

    def forward(self, x: Any) -> Any:
        y = self.norm(self.mix(x).permute(0, 2, 3, 1))
        return x + self.tail(F.gelu(self.head(y))).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), ChannelsLast(8), Block(8), ChannelsLast(8), nn.Conv2d(8, 12, 2, 2),
        Block(12), nn.AdaptiveAvgPool2d(1), ChannelsLast(12), nn.Flatten(1), nn.Linear(12, 5),
    )  # fmt: skip


# A module, an image's shape, and shapes of any batch that it takes too.
SERVED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[tuple[int, ...]]]] = {
    "circular": (
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (3, 8, 8), [(3, 9, 5)]
    ),
    "convnext": (convnext, (3, 32, 32), [(3, 40, 64), (3, 8, 8)]),
    "convnext_least": (convnext, (3, 8, 8), [(3, 32, 40)]),
    "last_stage": (
        lambda: nn.Sequential(ChannelsLast(4), nn.Conv2d(4, 6, 2, 2)), (4, 8, 8), [(4, 3, 2)]
    ),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), (5, 8), [(7, 8)]),
    "reshape": (
        lambda: Fn(lambda x: x.view(x.shape[0], 2, -1).flatten(1) * 2), (4, 6, 5), [(4, 3, 3)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("name", SERVED)
def test_any_batch_is_served_whatever_the_example_s(name: str, batch: int) -> None:
    make, shape, others = SERVED[name]
    torch.manual_seed(0)
    module = make()
    if name == "attention":
        module = Attends(module)
    network = check(module, image(batch, *shape))
    assert network.inputs[0].shape[0] == "batch"
    assert not any(node.op == "branch" for node in network.function.graph.nodes)
    for count in (1, 2, 5):
        for other in (shape, *others):
            compare(network, module, image(count, *other))


class Attends(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x, x, x, need_weights=False)[0]


# What does something else with a batch of 1: torch's answer for each batch.
BY_BATCH: dict[str, Callable[[Any], Any]] = {
    "squeeze": lambda x: torch.relu(x).squeeze(),
    "squeeze_first": lambda x: x.tanh().squeeze(0) + 1,
    "squeeze_dims": lambda x: x.mean((2, 3), keepdim=True).squeeze((0, 2, 3)),
    "squeeze_pooled": lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(),
    "branch": lambda x: x * 2 if x.shape[0] == 1 else x * 3,
    "branch_on_constants": lambda x: x + (torch.ones(3) if x.shape[0] == 1 else torch.zeros(3)),
    "branch_below": lambda x: x.flatten() if x.shape[0] < 2 else x.flatten(1),
    "scaled": lambda x: x if x.shape[0] == 1 else x / 2 if x.shape[0] < 4 else x / 4,
}


@pytest.mark.parametrize("name", BY_BATCH)
def test_module_that_tells_a_batch_of_one_answers_as_torch(name: str) -> None:
    module = Fn(BY_BATCH[name])
    for batch in (1, 2, 5):
        network = check(module, image(batch, 2, 5, 3))
        for count in (1, batch):
            compare(network, module, image(count, 2, 5, 3))
            compare(network, module, image(count, 4, 2, 3))
        if name != "scaled":
            compare(network, module, image(3, 2, 5, 3))


def test_branch_on_larger_batches_is_still_checked() -> None:
    network = fastconv.torch.convert(Fn(BY_BATCH["scaled"]), image(2, 2, 5, 3))
    with pytest.raises(ValueError, match=r"sizes must satisfy .*shape\[0\] < 4"):
        network(np.zeros((5, 2, 5, 3), np.float32))


def test_squeeze_of_an_open_length_refuses_one() -> None:
    network = fastconv.torch.convert(Fn(BY_BATCH["squeeze"]), image(2, 2, 5, 3))
    assert network.outputs[0].any_rank
    with pytest.raises(ValueError, match=r"sizes must satisfy .*shape\[2\] != 1"):
        network(np.zeros((2, 2, 1, 3), np.float32))
    # Converted with it, such a length is fixed, and taken away.
    compare(
        fastconv.torch.convert(Fn(BY_BATCH["squeeze"]), image(2, 2, 1, 3)),
        Fn(BY_BATCH["squeeze"]),
        image(2, 2, 1, 3),
    )


def test_squeeze_of_a_length_that_is_one_in_the_example_serves_it() -> None:
    module = Fn(lambda x: F.max_pool2d(x, 4).squeeze(3).squeeze(2))
    check(module, image(2, 3, 4, 4))
    check(module, image(1, 3, 4, 4))


def test_weights_of_both_batches_are_shared_and_saved(tmp_path: Path) -> None:
    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Any) -> Any:
            return self.conv(x).amax((2, 3), keepdim=True).squeeze()

    module = Tail()
    network = check(module, image(1, 3, 6, 6), again=(image(3, 3, 7, 6),))
    (node,) = (node for node in network.function.graph.nodes if node.op == "branch")
    then, otherwise = (node.attributes[key].constants for key in ("then", "otherwise"))
    assert then["conv.weight"] is otherwise["conv.weight"]
    network.save(tmp_path / "tail.fastconv")
    loaded = fastconv.load(tmp_path / "tail.fastconv")
    for batch in (1, 3):
        x = image(batch, 3, 6, 6).numpy()
        np.testing.assert_array_equal(loaded(x), network(x))
    assert "conv" in str(network.summary((1, 3, 6, 6)))


def test_sizes_that_a_batch_of_one_fixes_are_checked() -> None:
    def function(x: Any) -> Any:
        if x.shape[0] == 1:
            return x.reshape(1, 10) + 1
        return x.flatten(1) * 2

    module = Fn(function)
    network = check(module, image(2, 2, 5), again=(image(1, 2, 5),))
    compare(network, module, image(4, 3, 7))
    with pytest.raises(ValueError, match=r"sizes must satisfy .* == 10"):
        network(np.zeros((1, 2, 6), np.float32))


@pytest.mark.parametrize("listed", [True, False])
def test_length_that_a_batch_of_one_fixes_is_checked_whether_guards_list_it_or_not(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(x: Any) -> Any:
        return x + torch.ones(5) if x.shape[0] == 1 else x * 2

    def unlisted(program: Any) -> Any:
        found = all_conditions(program) or ()
        return [c for c in found if (c[1][0], c[1][1][0], c[1][2][0]) != ("==", "size", "number")]

    all_conditions = exporting.conditions_of
    if not listed:
        monkeypatch.setattr(exporting, "conditions_of", unlisted)
    module = Fn(function)
    network = check(module, image(2, 2, 5), again=(image(1, 2, 5),))
    compare(network, module, image(4, 3, 7))
    # A length of 1 would be broadcast to 5 without a word.
    for length in (1, 6):
        with pytest.raises(ValueError, match=r"sizes must satisfy .*shape\[2\] == 5"):
            network(np.zeros((1, 2, length), np.float32))


def test_several_inputs_of_one_batch_are_doubled_together() -> None:
    module = Fn(lambda x, y: (x.squeeze() + y.squeeze(), y * 2))
    network = check(module, image(1, 3, 4), image(1, 3, 4), again=(image(2, 3, 4), image(2, 3, 4)))
    with pytest.raises(ValueError, match="sizes must satisfy"):
        network(np.zeros((1, 3, 4), "f4"), np.zeros((2, 3, 4), "f4"))


def test_inputs_in_tuples_and_dicts_become_inputs_by_name() -> None:
    class Nested(nn.Module):
        def forward(self, x: Any, parts: Any, *, scale: Any, more: Any) -> Any:
            return {"sum": x + parts[0] * scale, "all": (parts[1], more["a"] - x)}

    x = image(2, 3, 4)
    given = {"x": x, "parts": (x * 2, x * 3), "scale": image(4), "more": {"a": x * 4}}
    network = fastconv.torch.convert(Nested(), given)
    names = [port.name for port in network.inputs]
    assert names == ["x", "parts_0", "parts_1", "scale", "more_a"]
    assert [port.name for port in network.outputs] == ["sum", "all", "all2"]
    values = [x, x * 2, x * 3, image(4), x * 4]
    expected = (x + x * 2 * image(4), x * 3, x * 3)
    arrays = [value.numpy() for value in values]
    by_name = network.run(None, dict(zip(names, arrays, strict=True)))
    for result, again, wanted in zip(network(*arrays), by_name, expected, strict=True):
        np.testing.assert_allclose(result, wanted.numpy(), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(result, again)


def test_positional_inputs_of_star_args_and_a_dict_are_taken() -> None:
    class Star(nn.Module):
        def forward(self, first: Any, *rest: Any) -> Any:
            return torch.cat([first, *rest], 1)

    check(Star(), image(1, 2, 3), image(1, 4, 3), again=(image(2, 2, 3), image(2, 4, 3)))

    class Batch(nn.Module):
        def forward(self, batch: Any) -> Any:
            return batch["image"] * batch["weights"][1]

    x = image(1, 2, 3)
    example = {"image": x, "weights": [x, x + 1]}
    network = fastconv.torch.convert(Batch(), (example,))
    compare(network, Batch(), example)


def test_branch_on_a_value_says_the_way_out_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match=r"cannot trace Fn: .*torch\.where.*torch\.onnx\.export"):
        fastconv.torch.convert(Fn(lambda x: x if x.sum() > 0 else -x), image(1, 4, 5))
    said = capfd.readouterr()
    assert "forward(" not in said.out + said.err


@pytest.mark.parametrize("value", [np.zeros(3), 3.0, None, "x"])
def test_example_that_is_no_tensor_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="must be tensors"):
        fastconv.torch.convert(nn.ReLU(), (value,))
    with pytest.raises(TypeError, match="must be tensors"):
        fastconv.torch.convert(nn.ReLU(), {"input": value})


def test_plain_modules_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    once = exporting._exported

    def counted(*given: Any, **named: Any) -> Any:
        traces.append(inspect.currentframe())
        return once(*given, **named)

    monkeypatch.setattr(exporting, "_exported", counted)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    fastconv.torch.convert(module, image(1, 3, 8, 8))
    assert len(traces) == 1
