"""Write docs/onnx.md: what of ONNX is run, and which of onnx's backend tests pass.

``python -m tests.onnx_report`` runs all of them, the nine networks included.
"""

from __future__ import annotations

import os
import tempfile
import unittest
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import onnx_suite
from tests.formats.onnxruntime_gaps import LEFT_OUT
from tests.onnx_gaps import gap, is_random

DOC = Path(__file__).resolve().parents[1] / "docs" / "onnx.md"
TITLES = {
    "Node": "operators (node)",
    "Real": "real networks, with generated weights (light)",
    "Simple": "simple models",
    "PyTorchConverted": "converted from PyTorch's layers",
    "PyTorchOperator": "PyTorch's operators",
}
HEAD = """# ONNX

`fastconv.load(path)` reads ONNX models of any opset.
`fastconv.InferenceSession` accepts onnxruntime's calls (`import fastconv.onnx as onnxruntime` is
the only change to a program).
`fastconv.onnx` is an onnx backend (`prepare`, `run_model`, `run_node`, `supports_device`).
All need `pip install 'fastconv[onnx]'`.

- An operator for which fastconv has no kernel or NumPy expression is run by onnx's own reference
  implementation, which is correct and slow.
  `network.fallbacks` names such nodes; the rest is compiled around them where onnx can determine
  their shapes.
  Only an operator that neither supports is refused; the error names all of them at once.
- Sequences are lists, optional values are themselves or None, strings are arrays of objects.
- A loop may run 1,000,000 iterations, including those of loops inside it.
  A loop that provably never ends (nothing that changes affects its condition, and it has no trip
  count) is refused at once.
- Sums of quantised convolutions are exact: in float32 where the absolute values of constant 8-bit
  weights sum to 2^24 / 255 at most for each output channel (about twice as fast), in float64
  elsewhere.
- Models are checked before memory for them is allocated: `max_memory` (bytes; default: the memory
  that the process may use) limits the weights and the values that exist at one time in a run.
  Damaged models end in a ValueError or TypeError that names the node
  (`python -m tests.onnx_mutations --count 10000` tests random ones in child processes).

This page is written by `python -m tests.onnx_report`.

## Comparing with other engines

```
fastconv compare model.onnx --with onnxruntime --layers          # or --with reference
fastconv compare model.onnx --shape x=1x3x224x224 --seed 1
fastconv compare model.onnx --input inputs.npz --json
```

runs a model with fastconv and with onnxruntime (`pip install onnxruntime`) or onnx's reference
evaluator, and prints the largest and the mean error of each output, absolute and relative to the
output's standard deviation. `--layers` does so for the outputs of all nodes and marks the first
node that differs; `--memory` limits the memory of these values. The exit status is 0 where
all values agree, 1 where one differs, 2 where they cannot be compared.

- A value agrees where all errors are at most `atol + rtol * |expected|`. By default `rtol` is the
  square root of the epsilon of the coarsest float dtype that the value was computed in or from
  (2^-8 where it was quantised), and `atol` is `rtol` times the standard deviation. Integers,
  booleans and strings must be equal; quantised ones may be one step apart.
- NaN agrees with NaN, and an infinity with an equal one.
- Inputs are random: floats are normal, integers of 8 and 16 bits uniform, larger ones rows of the
  table that they are indices of, and 0 or 1 where there is none.
- Nodes inside loops and branches are compared by the results of the loop or branch. A requested
  value is not fused away: where outputs differ and no node does, fusion causes the difference.
"""
SESSIONS = """## In place of onnxruntime

`import fastconv.onnx as onnxruntime` is the only change to a program. For packages that import
onnxruntime themselves, which need not be installed:

```
python -m fastconv.as_onnxruntime program.py arguments     # or -m module arguments
```

or, before anything imports onnxruntime:

```python
import fastconv.onnx

fastconv.onnx.install()
```

`install` raises an error where onnxruntime is already imported; `install(force=True)` replaces it
from then on. Spawned child processes have to call it themselves (in a pool, as its initializer).

- `__version__`, `get_version_string()` and `importlib.metadata.version("onnxruntime")` are
  @VERSION@: the onnxruntime version whose names these are, since programs compare with it.
  `get_build_info()` names fastconv.
- Sessions accept paths, bytes and `onnx.ModelProto`; feeds accept arrays, `OrtValue`s and lists of
  numbers. Sessions and `SessionOptions` pickle and copy. `session.network` is the `Network`, with
  `explain`, `profile` and the rest.
- These options have an effect: `intra_op_num_threads`; free dimensions, by name and by
  denotation; `add_initializer`; `enable_profiling`, whose `end_profiling()` writes each run's times
  node by node for chrome://tracing; `optimized_model_filepath`, to which the model is written with
  functions inlined, dimensions fixed and initializers replaced (fastconv's other rewrites
  depend on the inputs' shapes, and have no form in ONNX). Others are accepted. An option that does
  not exist is an AttributeError. `RunOptions.terminate` ends a run before it begins.
- There is one provider, the CPU's. Others give a warning and are left out, as in an onnxruntime
  that lacks them.
- Exceptions have onnxruntime's names (`onnxruntime.capi.onnxruntime_pybind11_state`) and are
  also ValueErrors: `NoSuchFile`, `InvalidProtobuf`, `InvalidGraph`, `NotImplemented`,
  `InvalidArgument` (for a dtype a TypeError too), `Fail`.
- `OrtValue`s share memory with the arrays that they are made from. An address that is passed to
  `bind_input` or `bind_output` is trusted, as onnxruntime trusts it.

Not supported:

@LEFT_OUT@

Models that onnxruntime's optimiser wrote run too, at every level; supported operators:

@FOREIGN@

A file of the level ORT_ENABLE_ALL has its filters in blocks of 8 or 16 channels, depending on the
machine that wrote it. Where its sizes do not determine which, a machine like this one is assumed,
as in onnxruntime. A node whose outputs are unused need not be supported.
"""


def sessions() -> list[str]:
    """Return the lines about onnxruntime's calls."""
    from fastconv.formats.onnx import translate
    from fastconv.formats.onnx.call import FOREIGN
    from fastconv.formats.onnx.runtime.providers import FOLLOWED

    assert translate.FAMILIES
    lines = []
    for why, names in LEFT_OUT.items():
        held = [
            f"`{name}`" if holder == "module" else f"`{holder}.{name}`"
            for holder, several in names.items()
            for name in several
        ]
        lines.append(f"- {why}: {', '.join(held)}.")
    own: dict[str, list[str]] = {}
    for name in FOREIGN:
        domain, _, op = name.rpartition(":")
        own.setdefault(domain, []).append(op)
    foreign = [f"- {domain}: {', '.join(sorted(names))}." for domain, names in sorted(own.items())]
    text = SESSIONS.replace("@VERSION@", FOLLOWED).replace("@LEFT_OUT@", "\n".join(lines))
    return text.replace("@FOREIGN@", "\n".join(foreign)).rstrip().split("\n")


def passes(test: Callable[[], Any]) -> bool:
    """Run one test."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test()
    except (Exception, unittest.SkipTest):
        return False
    return True


def suite() -> list[str]:
    """Run the suite; give the lines that tell how it went."""
    import onnx

    rows, failing, total, passed = [], [], 0, 0
    for group, tests in onnx_suite.groups().items():
        wrong = [name for name, test in tests.items() if is_random(name) or not passes(test)]
        rows.append(f"| {TITLES[group]} | {len(tests)} | {len(tests) - len(wrong)} |")
        total, passed = total + len(tests), passed + len(tests) - len(wrong)
        failing += wrong
    unknown = [name for name in failing if gap(name) is None and not is_random(name)]
    if unknown:
        raise SystemExit(f"failing, and no known gaps: {', '.join(unknown)}")
    lines = [
        f"## onnx's backend tests (onnx {onnx.__version__}, CPU)", "",
        "| group | tests | pass |", "| --- | --- | --- |", *rows,
        f"| all | {total} | {passed} |", "",
        "Those that do not pass:", "",
    ]  # fmt: skip
    for name in sorted(failing):
        reason = (
            gap(name) or "random numbers: another generator draws others; shape and dtype agree"
        )
        lines.append(f"- `{name}`: {reason}.")
    return lines


def operators() -> list[str]:
    """Return the lines that tell what runs each operator of the newest opset."""
    import onnx

    from fastconv.formats.onnx import translate
    from fastconv.formats.onnx.call import TRANSLATIONS, Unsupported
    from fastconv.formats.onnx.reference import reference_node

    assert translate.FAMILIES
    found: dict[str, list[str]] = {"native": [], "reference": [], "none": []}
    schemas = {(s.domain, s.name): s for s in onnx.defs.get_all_schemas()}
    versions = {domain: max(s.since_version for (d, _), s in schemas.items() if d == domain)
                for domain, _ in schemas}  # fmt: skip
    for (domain, name), schema in sorted(schemas.items()):
        label = f"{domain}.{name}" if domain else name
        if not domain and (name in TRANSLATIONS or name == "Constant"):
            found["native"].append(label)
            continue
        if schema.deprecated:
            continue
        node = onnx.helper.make_node(name, ["a"], ["b"], domain=domain)
        node.attribute.extend(
            _some(onnx, key, value) for key, value in schema.attributes.items() if value.required
        )
        try:
            reference_node(onnx, node, domain, versions, Unsupported("no translation"))
        except Unsupported as reason:
            known = "No registered implementation" in str(reason)
            found["none" if known else "reference"].append(label)
        else:
            found["reference"].append(label)
    return [
        f"## Operators (onnx {onnx.__version__})", "",
        f"{len(found['native'])} by fastconv and NumPy: {', '.join(found['native'])}.", "",
        f"{len(found['reference'])} by onnx's reference: {', '.join(found['reference'])}. So are"
        " element types of less than 8 bits, floats of 8 bits, and training modes of others.", "",
        f"{len(found['none'])} by neither: {', '.join(found['none']) or 'none'}.",
    ]  # fmt: skip


def _some(onnx: Any, name: str, attribute: Any) -> Any:
    """Return any value for an attribute that must be there."""
    kinds = onnx.defs.OpSchema.AttrType
    value: Any = {kinds.INT: 1, kinds.FLOAT: 1.0, kinds.INTS: [1], kinds.FLOATS: [1.0]}.get(
        attribute.type, "x"
    )
    if attribute.type == kinds.STRINGS:
        value = ["x"]
    if attribute.type == kinds.GRAPH:
        value = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_attribute(name, value)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONNX_HOME"] = folder
        os.environ.pop("ONNX_MODELS", None)
        head = [HEAD.rstrip(), "", *sessions(), ""]
        lines = [*head, *suite(), "", *operators(), ""]
    DOC.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
