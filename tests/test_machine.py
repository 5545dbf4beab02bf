"""The processor's features and family, and the fixed figures that choices are made from."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastconv import machine
from fastconv.machine import INSTRUCTION_SETS, ISAS, cpu
from fastconv.machine.instruction_sets import needed_features

SHAPES = (
    "instruction_set", "tile_rows", "tile_vectors",
    "has_fma",
)  # fmt: skip


@pytest.fixture
def forget() -> Iterator[None]:
    """Look again at the processor, before and after."""
    known: Any = (
        cpu._processor, cpu.cpu_features, cpu.family, machine.detected_isa, machine._describe,
    )  # fmt: skip
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


def processor(monkeypatch: pytest.MonkeyPatch, *facts: Any, flags: str = "") -> None:
    """Have Linux tell of another processor: vendor, family, model and name."""
    names = ("vendor_id", "cpu family", "model", "model name")
    found = {**dict(zip(names, map(str, facts), strict=False)), "flags": flags}
    monkeypatch.setattr(cpu, "_processor", lambda: found)


@pytest.mark.parametrize(
    ("vendor", "number", "model", "name", "flags", "family"),
    [
        ("GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8481C", "", machine.INTEL_SERVER),
        # A virtual machine that makes its numbers up, but not its features.
        ("GenuineIntel", 6, 167, "Intel(R) Xeon(R) Processor", "amx_tile", machine.INTEL_SERVER),
        ("GenuineIntel", 6, 1, "Intel(R) Xeon(R) Processor", "", machine.INTEL_SERVER),
        ("GenuineIntel", 6, 167, "Intel(R) Xeon(R) E-2388G", "", machine.INTEL_CLIENT),
        ("GenuineIntel", 6, 140, "11th Gen Intel(R) Core(TM) i7-1165G7", "", machine.INTEL_CLIENT),
        ("GenuineIntel", 6, 151, "12th Gen Intel(R) Core(TM) i9-12900K", "", machine.INTEL_CLIENT),
        ("AuthenticAMD", 25, 17, "AMD EPYC 9R14", "", machine.AMD_ZEN4),
        ("AuthenticAMD", 25, 97, "AMD Ryzen 9 7950X", "", machine.AMD_ZEN4),
        ("AuthenticAMD", 25, 1, "AMD EPYC 7763", "", ""),
        ("AuthenticAMD", 26, 2, "AMD EPYC 9755", "", machine.AMD_ZEN5),
        ("AuthenticAMD", 26, 36, "AMD Ryzen AI 9 HX 370", "", "amd zen 5 (256-bit)"),
        ("GenuineIntel", "", "none", "", "", machine.INTEL_CLIENT),
        ("", 0, 0, "", "", ""),
    ],
)
def test_family_from_cpuid_numbers_and_features(
    vendor: str,
    number: Any,
    model: Any,
    name: str,
    flags: str,
    family: str,
    forget: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor(monkeypatch, vendor, number, model, name, flags=flags)
    assert machine.family() == family


def test_family_on_windows_from_the_processor_text(
    forget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Intel64 Family 6 Model 85 Stepping 7, GenuineIntel"
    monkeypatch.setattr(cpu, "_processor", dict)
    monkeypatch.setattr(platform, "processor", lambda: text)
    assert machine.cpu_id() == ("GenuineIntel", 6, 85)
    assert machine.family() == machine.INTEL_SERVER
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine.cpu_id() == ("", 0, 0)


def test_processor_facts_are_of_the_first_core(
    forget: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: One\nflags\t\t: fma amx_tile\n\nmodel name\t: Two\n")
    monkeypatch.setattr(cpu.sys, "platform", "linux")
    monkeypatch.setattr(cpu, "Path", lambda _: path)
    assert machine.cpu_model() == "One"
    assert cpu._processor()["flags"].split() == ["fma", "amx_tile"]


@pytest.mark.parametrize("isa", ISAS)
def test_detected_instruction_set_is_the_best_whose_features_are_present(
    isa: str, forget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = needed_features(isa)
    monkeypatch.setattr(machine, "cpu_features", lambda: dict.fromkeys(needed, True))
    assert machine.detected_isa() == isa
    # Tiles without AVX-512 are of no use to us, nor are they without bfloat16.
    for missing in needed:
        machine.detected_isa.cache_clear()
        features = {**dict.fromkeys(needed, True), missing: False}
        monkeypatch.setattr(machine, "cpu_features", lambda features=features: features)
        assert ISAS.index(machine.detected_isa()) > ISAS.index(isa)


@pytest.mark.parametrize("family", ["", *sorted({name for _, name in machine.FAMILY_FIGURES})])
@pytest.mark.parametrize("isa", ISAS)
def test_figures_have_the_same_kernel_shapes_in_every_family(isa: str, family: str) -> None:
    figures, plain = machine.figures_of(isa, family), machine.figures_of(isa, "")
    # Bits do not depend on the family.
    assert [getattr(figures, name) for name in SHAPES] == [getattr(plain, name) for name in SHAPES]
    assert figures.instruction_set.vector_bytes == INSTRUCTION_SETS[isa].vector_bytes
    assert figures.vector_registers == INSTRUCTION_SETS[isa].vector_registers


def test_figures_of_an_extension_are_those_of_what_it_extends() -> None:
    for family in ("", machine.INTEL_CLIENT):
        assert machine.figures_of("amx", family) is machine.figures_of("avx512", family)
    # Tiles come on top.
    server = machine.figures_of("amx", machine.INTEL_SERVER)
    assert server.tiles is not None
    without = dataclasses.replace(server, tiles=None)
    assert without == machine.figures_of("avx512", machine.INTEL_SERVER)


def test_near_bytes_exceed_no_cache(forget: None, monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, "GenuineIntel", 6, 143)
    monkeypatch.setattr(machine, "cache_sizes", lambda: (48 << 10, 2 << 20, 480 << 20))
    assert machine._describe("avx512").near_bytes == 4 << 20
    machine._describe.cache_clear()
    monkeypatch.setattr(machine, "cache_sizes", lambda: (32 << 10, 1 << 20, 2 << 20))
    assert machine._describe("avx512").near_bytes == 2 << 20
