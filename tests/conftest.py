"""For all tests: algorithms are chosen by prediction alone; drawn examples are the same ones."""

import os
from collections.abc import Iterator

import pytest

os.environ["FASTCONV_TUNING"] = "off"

try:
    from hypothesis import settings
except ImportError:
    pass
else:
    # The same examples in each run: Numba's kernels for them are compiled once and kept on disk.
    # `--hypothesis-profile drawn` draws others.
    settings.register_profile("same", derandomize=True)
    settings.register_profile("drawn", derandomize=False)
    settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--guard-pages", action="store_true", help="end the process where a kernel leaves a buffer"
    )
    parser.addoption(
        "--onnx-mutations", type=int, default=300, help="how many damaged ONNX models to draw"
    )
    # They are here and not in tests/trust: only this file is sure to be read before options are.
    parser.addoption(
        "--trust",
        choices=("short", "full"),
        default="short",
        help="the form in which tests/trust checks the promises",
    )
    parser.addoption("--trust-table", help="where tests/trust appends its rows, as JSON lines")


@pytest.fixture(autouse=True, scope="session")
def _made_up_peak() -> Iterator[None]:
    """Hold times against figures that no machine reaches: nothing is measured for a test."""
    from fastconv import peak

    figures = peak.Figures(1e15, 1e15, 1e15, 1e15, 1e15, 1e15, 1e15, 1)
    made_up = peak.Peak("made up", "avx512", 1, figures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "measured", lambda: made_up)
        yield


@pytest.fixture(autouse=True)
def _guard_pages(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.config.getoption("--guard-pages"):
        yield
        return
    from tests.guarded import guard_pages

    with guard_pages():
        yield
