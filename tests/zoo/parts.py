"""What the networks of the zoo are built from, and weights that keep activations near 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation, activation (or none)."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: Any = 1,
        stride: Any = 1,
        padding: Any = None,
        *,
        groups: int = 1,
        dilation: int = 1,
        act: Callable[[], nn.Module] | None = nn.ReLU,
        n: int = 2,
    ) -> None:
        if padding is None:
            padding = dilation * (kernel - 1) // 2
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[n]
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[n]
        layers: list[nn.Module] = [
            conv(before, after, kernel, stride, padding, dilation, groups, bias=False),
            norm(after),
        ]
        super().__init__(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """What goes through ``body`` is added to what goes by (through ``short``, if there is one)."""

    def __init__(self, body: nn.Module, short: nn.Module | None = None, act: Any = None) -> None:
        super().__init__()
        self.body = body
        self.short = nn.Identity() if short is None else short
        self.act = act or nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.act(self.short(x) + self.body(x))


class Branches(nn.Module):
    """Several ways through, joined by channels."""

    def __init__(self, *ways: nn.Module) -> None:
        super().__init__()
        self.ways = nn.ModuleList(ways)

    def forward(self, x: Any) -> Any:
        return torch.cat([way(x) for way in self.ways], 1)


class SqueezeExcite(nn.Module):
    """Hu et al., 2018: each channel times a number in (0, 1) that the whole image gives."""

    def __init__(self, channels: int, middle: int, act: Callable[[], nn.Module] = nn.SiLU) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.act = nn.Conv2d(channels, middle, 1), act()
        self.up = nn.Conv2d(middle, channels, 1)

    def forward(self, x: Any) -> Any:
        return x * self.up(self.act(self.down(self.pool(x)))).sigmoid()


class Classifier(nn.Module):
    """Features, their mean over the image, a linear layer."""

    def __init__(self, features: nn.Module, channels: int, classes: int = 1000) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(torch.flatten(self.pool(self.features(x)), 1)))


def drawn(module: nn.Module, example: Any) -> nn.Module:
    """Draw weights, and take running statistics near those of an example, layer by layer.

    They are moved away from the example's own by random amounts, so that each has its say.
    """
    torch.manual_seed(0)
    convs = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for part in module.modules():
        if isinstance(part, convs):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.uniform_(part.bias, -0.5, 0.5)
        elif isinstance(part, (*norms, nn.LayerNorm, nn.GroupNorm)):
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.uniform_(part.bias, -0.5, 0.5)

    def settle(part: Any, inputs: tuple[Any, ...]) -> None:
        (x,) = inputs
        axes = [axis for axis in range(x.ndim) if axis != 1]
        part.running_mean.copy_(x.mean(axes) + torch.empty(x.shape[1]).uniform_(-0.3, 0.3))
        # Late maps are so small that a channel may hardly vary by chance.
        spread = (x.var(axes) + x.var()) / 2
        part.running_var.copy_(spread * torch.empty(x.shape[1]).uniform_(0.7, 1.5))

    hooks = [p.register_forward_pre_hook(settle) for p in module.modules() if isinstance(p, norms)]
    module.eval()
    with torch.no_grad():
        module(example)
    for hook in hooks:
        hook.remove()
    return module
