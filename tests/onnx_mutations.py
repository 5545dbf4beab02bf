"""Damaged ONNX models: each must give a result or a clear ValueError or TypeError, cheaply.

``python -m tests.onnx_mutations --count 10000`` draws many, in child processes: a crash, an
exception of another kind, a run that does not end, and a large allocation all show.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits"
MAX_MEMORY = 64 * 2**20
# A process that is asked to hold 64 MiB of values may have this much more than before the first.
MOST_GROWTH = 512 * 2**20
SECONDS = 20
# Long loops are refused sooner than they are elsewhere: passes may be slow.
MOST_PASSES = 5000
FINE = ("result", "ValueError", "TypeError")
NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, -128, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, -(2**63),
           10**5, 10**9)  # fmt: skip


def sources() -> list[tuple[str, bytes, list[Any]]]:
    """Return models to damage: name, bytes, inputs. Two networks, and node tests of all kinds."""
    import numpy as np
    import onnx

    from tests.onnx_suite import models

    def plain(value: Any) -> Any:
        if isinstance(value, onnx.TensorProto):
            return onnx.numpy_helper.to_array(value)
        return value

    found: list[tuple[str, bytes, list[Any]]] = []
    for name in ("lenet5", "convnet1"):
        data = (DIGITS / f"{name}.onnx").read_bytes()
        found += [(name, data, [np.zeros((1, 1, 28, 28), "f4")])] * 20
    cases = models()
    for name in sorted(cases):
        model = cases[name].model
        if model is not None and model.ByteSize() < 20000 and cases[name].data_sets:
            found.append(
                (name, model.SerializeToString(), [plain(v) for v in cases[name].data_sets[0][0]])
            )
    return found


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Damage a model's bytes, or the model that they hold."""
    import onnx

    if draw.random() < 0.15:
        return _bytes(data, draw)
    model = onnx.load_model_from_string(data)
    _NAMES.extend(name for node in model.graph.node for name in (*node.input, *node.output))
    _NAMES.extend(value.name for value in model.graph.input)
    for _ in range(draw.randint(1, 3)):
        _field(model if draw.random() < 0.08 else model.graph, draw)
    try:
        return model.SerializeToString()
    except Exception:
        return _bytes(data, draw)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(changed[: draw.randrange(len(changed))])
    edge = min(len(changed), 600)
    for _ in range(draw.randint(1, 8)):
        near = draw.randrange(edge)
        place = near if draw.random() < 0.5 else len(changed) - 1 - near
        if kind == 1:
            changed[place] = draw.randrange(256)
        elif kind == 2:
            changed[place:place] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 4)))
        else:
            del changed[place : place + draw.randint(1, 4)]
        edge = min(len(changed), 600)
    return bytes(changed)


def _field(message: Any, draw: random.Random) -> None:
    """Walk down to a field at random, and change it."""
    while True:
        fields = [f for f, _ in message.ListFields() if f.name != "doc_string"]
        # Numbers lead further than names: most other names are refused at once.
        weights = [0.1 if f.name == "name" else 1.0 for f in fields]
        if not fields:
            return
        (field,) = draw.choices(fields, weights)
        value = getattr(message, field.name)
        repeated = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
        if repeated and len(value) == 0:
            return
        if field.message_type is None:
            _number(message, field, value, repeated, draw)
            return
        if not repeated:
            message = value
        elif draw.random() < 0.12:
            _items(value, draw)
            return
        else:
            message = draw.choice(list(value))


def _items(values: Any, draw: random.Random) -> None:
    """Take an item away, give it twice, or put two in each other's place."""
    place, other = draw.randrange(len(values)), draw.randrange(len(values))
    kind = draw.randrange(3)
    if kind == 0:
        del values[place]
    elif kind == 1:
        values.add().CopyFrom(values[place])
    else:
        kept = type(values[place])()
        kept.CopyFrom(values[place])
        values[place].CopyFrom(values[other])
        values[other].CopyFrom(kept)


_NAMES: list[str] = []


def _number(message: Any, field: Any, value: Any, repeated: bool, draw: random.Random) -> None:
    """Change a field to another value of its own type; names and operators are those of others."""
    old = draw.choice(list(value)) if repeated else value
    if isinstance(old, str):
        new: Any = (
            draw.choice(_NAMES) if _NAMES and draw.random() < 0.8 else "x" * draw.randint(0, 5)
        )
        if field.name == "op_type":
            new = draw.choice(_operators())
    elif isinstance(old, bytes) and 0 < len(old) <= 64 and len(old) % 8 == 0:
        place = draw.randrange(len(old) // 8) * 8
        number = draw.choice(NUMBERS).to_bytes(8, "little", signed=True)
        new = old[:place] + number + old[place + 8 :]
    elif isinstance(old, bytes):
        new = old[: draw.randrange(len(old) + 1)] + bytes([draw.randrange(256)])
    elif isinstance(old, float):
        new = draw.choice((0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30, 0.5))
    else:
        new = draw.choice(NUMBERS) if draw.random() < 0.8 else old + draw.choice((-1, 1))
    try:
        if not repeated:
            setattr(message, field.name, new)
        elif draw.random() < 0.2:
            value.append(new)
        else:
            value[draw.randrange(len(value))] = new
    except (TypeError, ValueError):
        return


def _input(port: Any, given: Any) -> Any:
    """Return what the model was made for, or zeros where it now takes something else."""
    import ml_dtypes  # noqa: F401
    import numpy as np

    if port is None or port.kind:
        return given
    sizes = port.shape
    if getattr(given, "dtype", None) == port.dtype and not port.any_rank:
        pairs = zip(sizes, given.shape, strict=False)
        fits = all(a == b for a, b in pairs if isinstance(a, int))
        if fits and len(sizes) == given.ndim:
            return given
    shape = [size if isinstance(size, int) else 2 for size in sizes]
    if len(shape) > 12 or np.prod([float(n) for n in shape]) > 1e6:
        return given
    return np.zeros(shape, port.dtype)


def _operators() -> list[str]:
    import onnx

    return sorted({schema.name for schema in onnx.defs.get_all_schemas()})


def stretched(inputs: list[Any], draw: random.Random) -> list[Any]:
    """Change a number in an input of integers, which may be a shape: now and then."""
    import numpy as np

    changed = list(inputs)
    places = [
        i for i, v in enumerate(inputs)
        if isinstance(v, np.ndarray) and v.dtype.kind in "i" and 0 < v.size <= 16
    ]  # fmt: skip
    if places and draw.random() < 0.5:
        place = draw.choice(places)
        array = np.array(changed[place])
        limits = np.iinfo(array.dtype)
        number = min(max(draw.choice(NUMBERS), limits.min), limits.max)
        array.reshape(-1)[draw.randrange(array.size)] = number
        changed[place] = array
    return changed


def outcome(data: bytes, inputs: list[Any]) -> str:
    """Load and run; give "result", or the error's type and message."""
    import fastconv

    try:
        network = fastconv.load(data, max_memory=MAX_MEMORY)
        results = network(*(_input(*pair) for pair in zip_longest(network.inputs, inputs)))
        del results
    except Exception as error:
        known = (kind for kind in (ValueError, TypeError) if isinstance(error, kind))
        return f"{next(known, type(error)).__name__}: {error}"
    return "result"


def work(seed: int, first: int, last: int) -> None:
    """Run in a child: a line before each draw, one after it."""
    import faulthandler
    import resource

    from fastconv.network import control

    faulthandler.enable()
    control.MOST_PASSES = MOST_PASSES
    models = sources()

    def growth() -> int:
        # In KiB, but for macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def stop(*_: Any) -> None:
        raise TimeoutError("it does not end")

    signal.signal(signal.SIGALRM, stop)
    # What a first call loads is not an allocation of the model's.
    outcome(models[0][1], models[0][2])
    before = growth()
    for number in range(first, last):
        draw = random.Random(f"{seed}:{number}")
        _NAMES.clear()
        name, data, inputs = draw.choice(models)
        print(json.dumps({"draw": number, "model": name}), flush=True)
        damaged = mutate(data, draw) if draw.random() < 0.9 else data
        inputs = stretched(inputs, draw)
        signal.alarm(SECONDS)
        told = outcome(damaged, inputs)
        signal.alarm(0)
        grown = growth() - before
        print(json.dumps({"draw": number, "outcome": told, "grown": grown}), flush=True)
        before = max(before, growth())


def failures(seed: int, first: int, last: int) -> tuple[list[str], collections.Counter[str]]:
    """Draw in child processes, a new one after each crash; give what went wrong, and counts."""
    wrong: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    while first < last:
        command = [sys.executable, "-X", "utf8", "-m", "tests.onnx_mutations"]
        command += ["--worker", str(seed), str(first), str(last)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        model = ""
        for line in lines:
            if "model" in line:
                first, model = line["draw"], line["model"]
                continue
            kind = line["outcome"].split(":")[0]
            if "TimeoutError" in line["outcome"]:
                kind = "TimeoutError"
            counts[kind] += 1
            label = f"draw {line['draw']} of seed {seed} ({model}): {line['outcome'][:300]}"
            if kind not in FINE or "MemoryError" in line["outcome"]:
                wrong.append(label)
            elif line["grown"] > MOST_GROWTH:
                wrong.append(f"{label}: grew by {line['grown'] >> 20} MiB")
        if done.returncode == 0:
            break
        wrong.append(
            f"draw {first} of seed {seed} ({model}) ended the process with {done.returncode}: "
            f"{done.stderr[-800:]}"
        )
        first += 1
    return wrong, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, nargs=3)
    given = parser.parse_args()
    if given.worker:
        work(*given.worker)
        return
    wrong, counts = failures(given.seed, given.first, given.first + given.count)
    for line in wrong:
        print(line)
    print(dict(counts), f"{len(wrong)} wrong of {given.count}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
