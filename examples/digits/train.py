"""Train two small networks on scikit-learn's handwritten digits and export them as ONNX.

Needs torch, onnx, scikit-learn and Pillow. Everything is seeded; the files are written next to
this script unless ``--output`` names another folder.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

SIZE = 28
TEST_IMAGES = 450
SPLIT_SEED = 0
TRAIN_SEED = 1
OPSET = 17


def convnet1() -> nn.Sequential:
    """Two blocks of convolution, batch normalisation, ReLU and pooling, and one linear layer."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 5, padding=2),
            norm1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 32, 5, padding=2),
            norm2=nn.BatchNorm2d(32),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(32 * 7 * 7, 10),
        )
    )


def lenet5() -> nn.Sequential:
    """LeNet-5 with tanh and average pooling, for images of 28x28."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5, padding=2),
            tanh1=nn.Tanh(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            tanh2=nn.Tanh(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            linear1=nn.Linear(16 * 5 * 5, 120),
            tanh3=nn.Tanh(),
            linear2=nn.Linear(120, 84),
            tanh4=nn.Tanh(),
            linear3=nn.Linear(84, 10),
        )
    )


NETWORKS = {"convnet1": convnet1, "lenet5": lenet5}


def enlarge(digit: np.ndarray) -> np.ndarray:
    """An 8x8 digit with values 0..16 as a 28x28 image with values 0..255."""
    grey = np.rint(digit * (255 / 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images, test images, train labels and test labels; the images are uint8."""
    digits = load_digits()
    images = np.stack([enlarge(digit) for digit in digits.images])
    labels = digits.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=TEST_IMAGES, stratify=labels, random_state=SPLIT_SEED
    )
    return train_x, test_x, train_y, test_y


def as_input(images: np.ndarray) -> Tensor:
    """uint8 images (n, 28, 28) as float32 (n, 1, 28, 28) with values 0..1."""
    return torch.from_numpy(images[:, None].astype(np.float32) / np.float32(255))


def augment(batch: Tensor) -> Tensor:
    """Turn by up to 10 degrees, scale by up to 10 % and shift by up to 2 pixels, at random."""
    count = len(batch)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * limit

    angle, scale = uniform(math.radians(10)), 1 + uniform(0.1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift_x, shift_y = uniform(2 / (SIZE / 2)), uniform(2 / (SIZE / 2))
    theta = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, align_corners=False)


def train(network: nn.Module, x: Tensor, y: Tensor, epochs: int, batch: int = 64) -> None:
    """Adam with a one-cycle learning rate, for a fixed number of epochs."""
    steps = math.ceil(len(x) / batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(network(augment(x[chosen])), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


def export(network: nn.Module, path: Path) -> None:
    """Write one ONNX file; PRESERVE keeps the batch normalisations as nodes of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, SIZE, SIZE),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def write_samples(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The first test image of each digit as a PNG file."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("digit_*.png"):
        old.unlink()
    for label in range(10):
        index = int(np.flatnonzero(labels == label)[0])
        Image.fromarray(images[index]).save(folder / f"digit_{label}_{index}.png", optimize=True)


def main() -> None:
    """Train, report the accuracy on the test images and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    torch.use_deterministic_algorithms(True)
    train_x, test_x, train_y, test_y = load_split()
    x, y, test = as_input(train_x), torch.from_numpy(train_y), as_input(test_x)
    logits = {}
    for name, build in NETWORKS.items():
        torch.manual_seed(TRAIN_SEED)
        network = build()
        train(network, x, y, args.epochs)
        with torch.inference_mode():
            result = network(test).numpy()
        right = int((result.argmax(1) == test_y).sum())
        print(f"{name}: {right} of {len(test_y)} test images right, {right / len(test_y):.2%}")
        logits[f"{name}_logits"] = result
        export(network, args.output / f"{name}.onnx")

    np.savez_compressed(
        args.output / "test_images.npz", images=test_x, labels=test_y.astype(np.uint8), **logits
    )
    (args.output / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    write_samples(args.output / "images", test_x, test_y)


if __name__ == "__main__":
    main()
