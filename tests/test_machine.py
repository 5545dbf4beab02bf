"""The processor's family, and the fixed figures that choices are made from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastconv import machine


@pytest.fixture
def forget() -> Iterator[None]:
    """Look again at the processor, before and after."""
    for known in (machine.family, machine._describe):
        known.cache_clear()
    yield
    for known in (machine.family, machine._describe):
        known.cache_clear()


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Intel(R) Xeon(R) Processor", machine.INTEL_SERVER),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", machine.INTEL_SERVER),
        ("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", ""),
        ("AMD EPYC 9R14", ""),
        ("", ""),
    ],
)
def test_figures_follow_the_family_of_the_model_name(
    model: str, family: str, forget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_model", lambda: model)
    monkeypatch.setattr(machine, "cache_sizes", lambda: (48 << 10, 2 << 20, 480 << 20))
    assert machine.family() == family
    found = machine._describe("avx512")
    if family:
        assert found.figures is machine.FAMILY_FIGURES["avx512", family]
        assert found.near_bytes < 480 << 20
    else:
        assert found.figures is machine.FIGURES["avx512"]
        assert found.near_bytes == 480 << 20
    # Kernels have the same shapes in every family: bits do not depend on the family.
    for name in ("vector_bytes", "row_tiles", "vector_rows", "block_tiles", "has_fma"):
        assert getattr(found.figures, name) == getattr(machine.FIGURES["avx512"], name)


def test_near_bytes_exceed_no_cache(forget: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_model", lambda: "Intel(R) Xeon(R) Processor")
    monkeypatch.setattr(machine, "cache_sizes", lambda: (32 << 10, 1 << 20, 2 << 20))
    assert machine._describe("avx512").near_bytes == 2 << 20
