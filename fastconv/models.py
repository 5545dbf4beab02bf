"""Classic networks, with the names and shapes of weights that torchvision's checkpoints have.

Each function makes a network with random first weights; load trained ones by
``model.load_state_dict(weights)``, with NumPy arrays or tensors.
"""

from __future__ import annotations

from typing import Any

from fastconv import nn
from fastconv.nn.linear import flatten
from fastconv.problem.values import flag, integer, integers, number, shown

__all__ = [
    "VGG",
    "AlexNet",
    "ConvNet1",
    "LeNet5",
    "MobileNetV2",
    "ResNet",
    "alexnet",
    "convnet1",
    "lenet5",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]


class ConvNet1(nn.Module):
    """Two convolutions with batch normalisation and one linear layer, for 28 x 28 images."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.layer1 = self._layer(1, 16)
        self.layer2 = self._layer(16, 32)
        self.fc = nn.Linear(7 * 7 * 32, num_classes)

    @staticmethod
    def _layer(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=5, stride=1, padding=2),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 1, 28, 28)."""
        return self.fc(flatten(self.layer2(self.layer1(input))))


def convnet1(num_classes: int = 10) -> ConvNet1:
    """Make the small network that Fashion-MNIST is often tried with (29,034 parameters)."""
    return ConvNet1(num_classes)


class LeNet5(nn.Module):
    """LeNet-5: LeCun et al., Gradient-based learning applied to document recognition, 1998.

    In its common form: plain average pooling, full connections, softmax left to the caller.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.pool = nn.AvgPool2d(2)
        self.activation = nn.Tanh()

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 1, 28, 28)."""
        x = self.pool(self.activation(self.conv1(input)))
        x = self.pool(self.activation(self.conv2(x)))
        x = self.activation(self.fc1(flatten(x)))
        return self.fc3(self.activation(self.fc2(x)))


def lenet5(num_classes: int = 10) -> LeNet5:
    """Make LeNet-5 for 28 x 28 images (61,706 parameters)."""
    return LeNet5(num_classes)


class AlexNet(nn.Module):
    """AlexNet: Krizhevsky, One weird trick for parallelizing convolutional networks, 2014."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        dropout = number(dropout, "dropout")
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 3, H, W), H and W at least 63."""
        return self.classifier(flatten(self.avgpool(self.features(input))))


def alexnet(num_classes: int = 1000, dropout: float = 0.5) -> AlexNet:
    """Make AlexNet (61,100,840 parameters)."""
    return AlexNet(num_classes, dropout)


# Channels of the convolutions of each stage; a stage ends in a pooling by 2.
_VGG = {
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """VGG: Simonyan and Zisserman, Very deep convolutional networks, 2014."""

    def __init__(
        self, depth: int, batch_norm: bool, num_classes: int = 1000, dropout: float = 0.5
    ) -> None:
        super().__init__()
        dropout = number(dropout, "dropout")
        if integer(depth, "depth") not in _VGG:
            raise ValueError(f"depth must be one of {', '.join(map(str, _VGG))}, but got {depth}")
        self.features = nn.Sequential(*self._features(depth, flag(batch_norm, "batch_norm")))
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )

    @staticmethod
    def _features(depth: int, batch_norm: bool) -> list[nn.Module]:
        layers: list[nn.Module] = []
        before = 3
        for stage in _VGG[depth]:
            for channels in stage:
                layers.append(nn.Conv2d(before, channels, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU(inplace=True))
                before = channels
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        return layers

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 3, H, W), H and W at least 32."""
        return self.classifier(flatten(self.avgpool(self.features(input))))


def vgg11(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-11 (132,863,336 parameters)."""
    return VGG(11, False, num_classes, dropout)


def vgg11_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-11 with batch normalisation (132,868,840 parameters)."""
    return VGG(11, True, num_classes, dropout)


def vgg13(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-13 (133,047,848 parameters)."""
    return VGG(13, False, num_classes, dropout)


def vgg13_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-13 with batch normalisation (133,053,736 parameters)."""
    return VGG(13, True, num_classes, dropout)


def vgg16(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-16 (138,357,544 parameters)."""
    return VGG(16, False, num_classes, dropout)


def vgg16_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-16 with batch normalisation (138,365,992 parameters)."""
    return VGG(16, True, num_classes, dropout)


def vgg19(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-19 (143,667,240 parameters)."""
    return VGG(19, False, num_classes, dropout)


def vgg19_bn(num_classes: int = 1000, dropout: float = 0.5) -> VGG:
    """Make VGG-19 with batch normalisation (143,678,248 parameters)."""
    return VGG(19, True, num_classes, dropout)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: Any = _shortcut(in_channels, channels, stride)

    def forward(self, input: Any) -> Any:
        """Run the block."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + (input if self.downsample is None else self.downsample(input)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with a shortcut; the 3 x 3 one takes the stride."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: Any = _shortcut(in_channels, out_channels, stride)

    def forward(self, input: Any) -> Any:
        """Run the block."""
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + (input if self.downsample is None else self.downsample(input)))


# Blocks of a stage: beyond this a number is a slip.
DEEPEST = 1024


class ResNet(nn.Module):
    """ResNet: He et al., Deep residual learning for image recognition, 2015."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        if block is not BasicBlock and block is not Bottleneck:
            raise TypeError(f"block must be BasicBlock or Bottleneck, not {shown(block)}")
        counts = integers(blocks, 4, "blocks", least=1)
        if max(counts) > DEEPEST:
            raise ValueError(f"blocks must be at most {DEEPEST} a stage, but got {list(counts)}")
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        before = 64
        for i, count in enumerate(counts):
            channels = 64 << i
            stage = nn.Sequential()
            for j in range(count):
                stage.append(block(before, channels, 2 if i > 0 and j == 0 else 1))
                before = channels * block.expansion
            self.add_module(f"layer{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(before, num_classes)

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 3, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flatten(self.avgpool(x)))


def resnet18(num_classes: int = 1000) -> ResNet:
    """Make ResNet-18 (11,689,512 parameters)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """Make ResNet-34 (21,797,672 parameters)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """Make ResNet-50 (25,557,032 parameters)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """Make ResNet-101 (44,549,160 parameters)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """Make ResNet-152 (60,192,808 parameters)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes)


def _conv_bn_relu6(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """A depthwise convolution between a widening and a narrowing 1 x 1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(_conv_bn_relu6(in_channels, hidden, kernel=1))
        layers.append(_conv_bn_relu6(hidden, hidden, stride=stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and in_channels == out_channels

    def forward(self, input: Any) -> Any:
        """Run the block."""
        x = self.conv(input)
        return input + x if self.use_res_connect else x


# Widening, channels, blocks and first stride of each stage.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _whole(channels: float) -> int:
    """Round to a multiple of 8, by no more than a tenth down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


# Layers hold their sizes in integers: beyond this a width is a slip.
WIDEST = 1024


class MobileNetV2(nn.Module):
    """MobileNetV2: Sandler et al., Inverted residuals and linear bottlenecks, 2018."""

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        dropout, width_mult = number(dropout, "dropout"), number(width_mult, "width_mult")
        if not 0 < width_mult < WIDEST:
            raise ValueError(f"width_mult must be above 0 and below {WIDEST}, not {width_mult}")
        before = _whole(32 * width_mult)
        features: list[nn.Module] = [_conv_bn_relu6(3, before, stride=2)]
        for expand, channels, count, stride in _MOBILENET_V2:
            after = _whole(channels * width_mult)
            for i in range(count):
                features.append(InvertedResidual(before, after, stride if i == 0 else 1, expand))
                before = after
        last = _whole(1280 * max(1.0, width_mult))
        features.append(_conv_bn_relu6(before, last, kernel=1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(last, num_classes))

    def forward(self, input: Any) -> Any:
        """Return scores of shape (N, classes) for images (N, 3, H, W)."""
        return self.classifier(flatten(self.avgpool(self.features(input))))


def mobilenet_v2(
    num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """Make MobileNetV2 (3,504,872 parameters at ``width_mult=1``)."""
    return MobileNetV2(num_classes, width_mult, dropout)
