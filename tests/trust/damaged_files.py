"""Files of weights and networks that are damaged or hostile: a result or a ValueError, cheaply.

``python -m tests.trust.damaged_files --count 10000 pt npz`` draws many, in child processes.
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.trust.abuse import ROOT, Endless, bounded, limited, peak

KINDS = ("fastconv", "npz", "pt", "safetensors")
MAX_MEMORY = 64 * 2**20
MOST_GROWTH = 384 * 2**20
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**62)
# Nothing that a file says may lead to one of these.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile",
             "os.remove", "os.rename", "subprocess.Popen", "pickle.find_class", "shutil.rmtree",
             "socket.connect", "socket.__new__", "urllib.Request")  # fmt: skip


@functools.cache
def whole(kind: str) -> list[bytes]:
    """Return files of a kind that are right."""
    import numpy as np

    import fastconv
    from fastconv import nn

    arrays = {"a.weight": np.arange(24, dtype="f4").reshape(2, 3, 2, 2), "b": np.ones(3, "f2")}
    found = []
    if kind == "pt":
        import torch

        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        for protocol in (2, 4):
            stream = io.BytesIO()
            torch.save(tensors, stream, pickle_protocol=protocol)
            found.append(stream.getvalue())
    elif kind == "npz":
        for save in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            save(stream, **arrays)
            found.append(stream.getvalue())
    elif kind == "safetensors":
        import safetensors.numpy

        found.append(safetensors.numpy.save(arrays))
    else:
        layer = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.fastconv")
            fastconv.compile(layer, (1, 2, 6, 6)).save(path)
            found.append(path.read_bytes())
            digits = ROOT / "examples" / "digits" / "convnet1.onnx"
            fastconv.load(digits).save(path)
            found.append(path.read_bytes())
    return found


def damaged(kind: str, draw: random.Random) -> bytes:
    """Damage a file: its bytes, what an archive says of itself, or what its members hold."""
    data = draw.choice(whole(kind))
    ways: list[Callable[[bytes, random.Random], bytes]] = [_bytes, _bytes, _cut, _spliced]
    if kind != "safetensors":
        ways += [_zip_field, _member, _member, _member]
    else:
        ways += [_safetensors_header] * 3
    return draw.choice(ways)(data, draw)


def _bytes(data: bytes, draw: random.Random) -> bytes:
    """Flip bits, or put other bytes in their place."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        place = draw.randrange(len(changed))
        changed[place] ^= 1 << draw.randrange(8) if draw.random() < 0.5 else draw.randrange(256)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _spliced(data: bytes, draw: random.Random) -> bytes:
    """Take a piece away, or put one in twice."""
    first, second = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[:first] + data[second:] if draw.random() < 0.5 else data[:second] + data[first:]


def _zip_field(data: bytes, draw: random.Random) -> bytes:
    """Change a number of one of the headers that an archive is read by."""
    changed = bytearray(data)
    magic = draw.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    places = [i for i in range(len(data)) if data.startswith(magic, i)]
    place = draw.choice(places) + draw.choice((4, 6, 8, 10, 12, 14, 18, 20, 22, 24, 28, 32, 38, 42))
    number = struct.pack("<I", draw.choice(NUMBERS) & 0xFFFFFFFF)
    changed[place : place + 4] = number[: len(changed[place : place + 4])]
    return bytes(changed)


def _member(data: bytes, draw: random.Random) -> bytes:
    """Write the archive again with a member changed, gone, twice there, or deflated."""
    old, stream = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    chosen = draw.choice(old.namelist())
    deflated = draw.random() < 0.15
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if deflated else 0) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == chosen:
                kind = draw.random()
                if kind < 0.05:
                    continue
                if name.endswith(".json"):
                    content = _json(content, draw)
                elif name.endswith(".pkl") and kind < 0.3:
                    content = draw.choice(PICKLES)
                elif name.endswith(".npy") and kind < 0.6:
                    content = _npy_header(content, draw)
                else:
                    content = draw.choice((_bytes, _cut, _spliced))(content or b"\0", draw)
            new.writestr(name, content)
    return stream.getvalue()


def _json(content: bytes, draw: random.Random) -> bytes:
    """Put junk in some place of what a network's graph says."""
    told = json.loads(content)
    for _ in range(draw.randint(1, 3)):
        _spoil(told, draw)
    return json.dumps(told).encode()


JUNK: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 2**31, 2**62, -(2**63), 0.5, 1e308, "", "x", "relu", "conv2d", "call",
    "__class__", "os.system", "../../etc/passwd", "\0", [], {}, [0], [2**40, 2**40], ["a", "b"],
    {"a": 1}, [[[[[]]]]], "x" * 10**5, [1] * 10**4,
)  # fmt: skip


def _spoil(told: Any, draw: random.Random) -> None:
    while True:
        keys = list(told) if isinstance(told, dict) else list(range(len(told)))
        if not keys:
            return
        key = draw.choice(keys)
        below = told[key]
        if not isinstance(below, (dict, list)) or not below or draw.random() < 0.1:
            # A copy: what comes after may spoil it further.
            told[key] = copy.deepcopy(draw.choice(JUNK))
            return
        told = below


SHAPES = (
    "()", "(-1,)", "(2**62,)", "(10**12, 10**12)", "(0,)", "(1.5,)", "('a',)", "(True,)",
    "(" * 60 + ")" * 60, "(3,)", "(4611686018427387904, 4)", "(",
)  # fmt: skip
DTYPES = (
    "'<f4'", "'|O'", "'<f8'", "'<U9'", "'|V1000000000'", "[('a', '|O')]", "'<m8'", "1",
    "__import__('os').system('touch ran')",
)  # fmt: skip


def _npy_header(content: bytes, draw: random.Random) -> bytes:
    """Let an array say that it is of another shape or dtype."""
    shape, dtype, fortran = draw.choice(SHAPES), draw.choice(DTYPES), draw.choice((True, False))
    header = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = header.encode().ljust(118) + b"\n"
    version, length = draw.choice(((1, "<H"), (2, "<I"), (3, "<I"), (9, "<I")))
    body = content[128:] if draw.random() < 0.8 else b""
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack(length, len(text)) + text + body


def _safetensors_header(data: bytes, draw: random.Random) -> bytes:
    """Put junk in the header, or let it say another length."""
    size = struct.unpack("<Q", data[:8])[0]
    told, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    kind = draw.random()
    if kind < 0.2:
        return struct.pack("<Q", draw.choice(NUMBERS)) + data[8:]
    if kind < 0.3:
        return struct.pack("<Q", 10**5) + b"[" * 10**5 + rest
    _spoil(told, draw)
    header = json.dumps(told).encode()
    return struct.pack("<Q", len(header)) + header + rest


class Hostile:
    """A pickle of it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def _pickles() -> list[bytes]:
    """Return pickles that would run something, or take much memory or depth."""
    values = [Hostile(os.system, "touch ran"), Hostile(eval, "open('ran', 'w')"),
              Hostile(exec, "open('ran', 'w')"), Hostile(getattr, os, "system"),
              Hostile(bytearray, 2**40), Hostile(subprocess.Popen, ["touch", "ran"])]  # fmt: skip
    found = []
    for protocol in (0, 1, 2, 4, 5):
        for value in values:
            try:
                found.append(pickle.dumps({"w": value}, protocol))
            except Exception:
                continue
    found += [
        b"cos\nsystem\n(S'touch ran'\ntR.", b"(S'touch ran'\nios\nsystem\n.",
        b"\x80\x02cos\nsystem\nX\x09\0\0\0touch ran\x85R.", b"\x80\x02cos\nsystem\n)\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\ncos\nsystem\nX\x09\0\0\0touch ran\x85R\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n(cos\nsystem\ntR}X\x01\0\0\0aK\x01sb.",
        b"\x80\x02" + b"(" * 10**5 + b".", b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        b"\x80\x02" + b"K\x01\x85" + b"\x85" * 10**5 + b".", b"\x80\x02N" + b"2" * 10**5 + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", b"\x80\x04\x95" + b"\xff" * 8 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.", b"\x80\x02]r\xff\xff\xff\x7f.", b"\x82\x01.", b"",
        b"\x80\x02I" + b"9" * 10**5 + b"\n.", b"\x80\x02L" + b"9" * 10**5 + b"L\n.",
    ]  # fmt: skip
    return found


PICKLES = _pickles()


def bombs(kind: str) -> list[bytes]:
    """Return archives that say little and hold much, and hostile pickles in a file of their own."""
    if kind == "safetensors":
        return []
    found = list(PICKLES) if kind == "pt" else []
    zeros = bytes(2**20)
    for data in whole(kind)[:1]:
        old = zipfile.ZipFile(io.BytesIO(data))
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                with new.open(name, "w", force_zip64=True) as member:
                    member.write(old.read(name))
                    # Beyond what a process may grow by; deflated it is 1000 times smaller.
                    for _ in range(2 * MOST_GROWTH >> 20):
                        member.write(zeros)
                break
            for name in old.namelist()[1:]:
                new.writestr(name, old.read(name))
        found.append(stream.getvalue())
    return found


def outcome(kind: str, data: bytes, folder: Path) -> str:
    """Read a file, and run what it holds; give "result" or the error."""
    import numpy as np

    import fastconv

    path = folder / f"file.{kind}"
    path.write_bytes(data)
    try:
        if kind == "fastconv":
            network = fastconv.load(path, max_memory=MAX_MEMORY)
            shapes = [
                [n if isinstance(n, int) else 1 for n in port.shape] for port in network.inputs
            ]
            if all(np.prod([float(n) for n in shape]) < 1e6 for shape in shapes):
                network(
                    *(np.zeros(s, p.dtype) for s, p in zip(shapes, network.inputs, strict=True))
                )
        else:
            for array in fastconv.load_weights(path).values():
                assert array.nbytes >= 0
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    except Endless:
        return "Endless: it did not end"
    except Exception as error:
        return f"WRONG {type(error).__name__}: {error}"
    return "result"


def work(kind: str, seed: int, first: int, last: int) -> None:
    """Run in a child: a line before each file, and one after it."""
    import faulthandler

    faulthandler.enable()
    folder = Path(tempfile.mkdtemp(prefix="fastconv-trust-"))
    os.chdir(folder)
    for data in whole(kind):
        assert outcome(kind, data, folder) == "result"
    extra = bombs(kind)
    happened: list[str] = []
    sys.addaudithook(lambda event, _: happened.append(event) if event in FORBIDDEN else None)
    bounded()
    for number in range(first, last):
        print(json.dumps({"draw": number}), flush=True)
        draw = random.Random(f"{seed}:{kind}:{number}")
        data = extra[number] if number < len(extra) else damaged(kind, draw)
        before = peak()
        happened.clear()
        try:
            with limited(20):
                told = outcome(kind, data, folder)
        except Endless:
            told = "Endless: it did not end"
        events, grown = set(happened), peak() - before
        if events or (folder / "ran").exists():
            told = f"WRONG it ran something: {sorted(events)}, {told}"
            (folder / "ran").unlink(missing_ok=True)
        elif grown > MOST_GROWTH:
            told = f"WRONG it grew by {grown >> 20} MiB: {told}"
        print(json.dumps({"outcome": told[:300]}), flush=True)


def failures(
    kind: str, seed: int, first: int, last: int
) -> tuple[list[str], collections.Counter[str]]:
    """Draw in child processes, a new one after each crash; give what went wrong, and counts."""
    wrong: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    while first < last:
        command = [sys.executable, "-X", "utf8", "-m", "tests.trust.damaged_files", "--worker"]
        command += [kind, "--seed", str(seed), "--first", str(first), "--count", str(last - first)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        started = False
        for line in done.stdout.splitlines():
            told = json.loads(line)
            if "draw" in told:
                first, started = told["draw"], True
                continue
            word = told["outcome"].split(":")[0]
            counts[word.split()[0]] += 1
            if word not in ("result", "ValueError", "TypeError"):
                wrong.append(f"{kind} {first} of seed {seed}: {told['outcome']}")
        if done.returncode == 0:
            break
        wrong.append(f"{kind} {first} ended the process: {done.returncode} {done.stderr[-1000:]}")
        if not started:
            break
        first += 1
    return wrong, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--worker", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.seed, given.first, given.first + given.count)
        return
    for kind in given.kinds:
        start = time.monotonic()
        wrong, counts = failures(kind, given.seed, given.first, given.first + given.count)
        print(*wrong[:40], sep="\n")
        print(kind, dict(counts), f"{len(wrong)} wrong, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
