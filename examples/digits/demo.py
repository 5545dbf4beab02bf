"""The main job: trained networks classify digits that training never saw, checked as it goes.

Usage: python examples/digits/demo.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fastconv

HERE = Path(__file__).resolve().parent
LEAST_ACCURACY = 0.97
LARGEST_DIFFERENCE = 1e-4


def run_command_line() -> None:
    """Classify ten pictures as a user would, from the shell."""
    root = HERE.parent.parent
    folder = HERE.relative_to(root)
    pictures = sorted((HERE / "images").glob("*.png"))
    typed = [
        "run",
        str(folder / "lenet5.onnx"),
        *(str(picture.relative_to(root)) for picture in pictures),
        "--labels",
        str(folder / "labels.txt"),
        "--top",
        "2",
    ]
    shown = f"fastconv run {folder / 'lenet5.onnx'} {folder / 'images'}/*.png"
    print(f"$ {shown} --labels {folder / 'labels.txt'} --top 2", flush=True)
    subprocess.run([sys.executable, "-m", "fastconv", *typed], cwd=root, check=True)


def seconds_a_run(network: fastconv.Network, batch: np.ndarray, repeat: int) -> float:
    """Median time of a forward pass, after two that are not counted."""
    times = []
    for _ in range(repeat + 2):
        start = time.perf_counter()
        network(batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def check(name: str, images: np.ndarray, labels: np.ndarray, expected: np.ndarray) -> bool:
    """Run one network on all test images, print what came out, and tell whether it is right."""
    start = time.perf_counter()
    network = fastconv.load(HERE / f"{name}.onnx")
    network(images[:1])
    first = time.perf_counter() - start
    logits = network(images)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    agreement = int((logits.argmax(axis=1) == expected.argmax(axis=1)).sum())
    difference = float(np.abs(logits - expected).max())
    latency = seconds_a_run(network, images[:1], 200)
    batch = seconds_a_run(network, images, 20)
    print(f"\n{name}: {len(images)} images that training never saw")
    print(f"  accuracy             {accuracy:.2%}")
    print(f"  same class as torch  {agreement} of {len(images)}")
    print(f"  largest difference   {difference:.1e} from torch's logits")
    print(f"  loaded, first result {first * 1e3:,.0f} ms")
    print(f"  one image            {latency * 1e3:.3f} ms")
    print(f"  a batch of {len(images)}       {len(images) / batch:,.0f} images a second")
    print(f"\n{network.summary((1, *images.shape[1:]))}")
    right = accuracy >= LEAST_ACCURACY and agreement == len(images)
    return right and difference <= LARGEST_DIFFERENCE


def main() -> None:
    """Run the demo; exit with status 1 when a network is not what it should be."""
    run_command_line()
    data = np.load(HERE / "test_images.npz")
    images = data["images"][:, None].astype(np.float32) / np.float32(255)
    names = ("convnet1", "lenet5")
    results = [check(name, images, data["labels"], data[f"{name}_logits"]) for name in names]
    print(f"\nfastconv {fastconv.__version__}, {fastconv.get_num_threads()} threads")
    if not all(results):
        sys.exit("a network fell short: see above")


if __name__ == "__main__":
    main()
