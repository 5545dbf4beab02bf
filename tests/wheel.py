"""Try an installed wheel where neither Numba nor a compiler is: a network runs on the extension."""

import importlib.util

import numpy as np

import fastconv


def main() -> None:
    assert importlib.util.find_spec("numba") is None
    assert "c" in str(fastconv.show_config()["backends"]).split(", ")
    network = fastconv.models.lenet5().eval()
    images = np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32)
    logits = network(images)
    assert logits.shape == (3, 10)
    assert np.array_equal(network(images[1:2]), logits[1:2])
    print(fastconv.show_config())


if __name__ == "__main__":
    main()
