"""The classic networks in plain torch, with torchvision's names of weights: the oracles."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class ConvNet1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.layer2 = nn.Sequential(
            nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.fc = nn.Linear(1568, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(self.layer2(self.layer1(x)).flatten(1))


class LeNet5(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        pool = nn.functional.avg_pool2d
        x = pool(self.conv1(x).tanh(), 2)
        x = pool(self.conv2(x).tanh(), 2).flatten(1)
        return self.fc3(self.fc2(self.fc1(x).tanh()).tanh())


class Classifier(nn.Module):
    """Features, pooling to a fixed size, a classifier: AlexNet and VGG."""

    def __init__(self, features: list[nn.Module], size: int, head: list[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d((size, size))
        self.classifier = nn.Sequential(*head)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet() -> Classifier:
    relu, pool, drop = nn.ReLU, lambda: nn.MaxPool2d(3, 2), nn.Dropout
    features = [
        nn.Conv2d(3, 64, 11, 4, 2), relu(), pool(), nn.Conv2d(64, 192, 5, 1, 2), relu(), pool(),
        nn.Conv2d(192, 384, 3, 1, 1), relu(), nn.Conv2d(384, 256, 3, 1, 1), relu(),
        nn.Conv2d(256, 256, 3, 1, 1), relu(), pool(),
    ]  # fmt: skip
    head = [
        drop(), nn.Linear(9216, 4096), relu(), drop(), nn.Linear(4096, 4096), relu(),
        nn.Linear(4096, 1000),
    ]  # fmt: skip
    return Classifier(features, 6, head)


VGG = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def vgg(depth: int, norm: bool) -> Classifier:
    features: list[nn.Module] = []
    channels = 3
    for word in VGG[depth].split():
        if word == "M":
            features.append(nn.MaxPool2d(2, 2))
            continue
        features.append(nn.Conv2d(channels, int(word), 3, padding=1))
        channels = int(word)
        features += [nn.BatchNorm2d(channels), nn.ReLU()] if norm else [nn.ReLU()]
    head = [
        nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 1000),
    ]  # fmt: skip
    return Classifier(features, 7, head)


class Block(nn.Module):
    """A residual block of two 3 x 3 convolutions, or of 1 x 1, 3 x 3 and 1 x 1."""

    def __init__(self, before: int, channels: int, stride: int, *, wide: bool) -> None:
        super().__init__()
        after = channels * 4 if wide else channels
        kernels = (1, 3, 1) if wide else (3, 3)
        self.count = len(kernels)
        widths = [before, *[channels] * (self.count - 1), after]
        for i, kernel in enumerate(kernels):
            step = stride if i == (1 if wide else 0) else 1
            conv = nn.Conv2d(widths[i], widths[i + 1], kernel, step, kernel // 2, bias=False)
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.downsample: Any = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Any) -> Any:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y if i == self.count else y.relu()
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], *, wide: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for i, count in enumerate(blocks):
            stage = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(Block(before, 64 * 2**i, stride, wide=wide))
                before = 64 * 2**i * (4 if wide else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.fc = nn.Linear(before, 1000)

    def forward(self, x: Any) -> Any:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


def conv_bn(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = before * expand
        self.add = stride == 1 and before == after
        self.conv = nn.Sequential(
            *([conv_bn(before, wide, 1)] if expand > 1 else []),
            conv_bn(wide, wide, 3, stride, wide),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        rows = [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1),
        ]  # fmt: skip
        features, before = [conv_bn(3, 32, 3, 2)], 32
        for expand, after, count, stride in rows:
            for i in range(count):
                features.append(Inverted(before, after, stride if i == 0 else 1, expand))
                before = after
        self.features = nn.Sequential(*features, conv_bn(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


MAKERS: dict[str, Any] = {
    "convnet1": ConvNet1,
    "lenet5": LeNet5,
    "alexnet": alexnet,
    **{f"vgg{d}": lambda d=d: vgg(d, norm=False) for d in VGG},
    **{f"vgg{d}_bn": lambda d=d: vgg(d, norm=True) for d in VGG},
    "resnet18": lambda: ResNet((2, 2, 2, 2), wide=False),
    "resnet34": lambda: ResNet((3, 4, 6, 3), wide=False),
    "resnet50": lambda: ResNet((3, 4, 6, 3), wide=True),
    "resnet101": lambda: ResNet((3, 4, 23, 3), wide=True),
    "resnet152": lambda: ResNet((3, 8, 36, 3), wide=True),
    "mobilenet_v2": MobileNetV2,
}


def make(name: str, device: str = "cpu") -> nn.Module:
    """Make a network by the name of its function in `fastconv.models`, in evaluation mode.

    Weights are drawn so that activations stay near 1 through all layers.
    """
    with torch.device(device):
        module: nn.Module = MAKERS[name]().eval()
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module
