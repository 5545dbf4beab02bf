"""What runs comes from the package alone: no network, and no code out of data."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRUSTED = "nothing that is read can run code"

# What turns data into code or into objects of any kind, and what starts programs.
RISKY = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "dill.loads", "cloudpickle.loads",
    "torch.load", "joblib.load", "yaml.load", "os.system", "os.popen", "os.execv", "os.spawnv",
    "subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.call",
    "importlib.import_module", "ctypes.CDLL", "runpy.run_path", "np.load", "numpy.load",
    "np.lib.format.read_array", "socket.socket", "urllib.request.urlopen",
}  # fmt: skip
# (file, call): why it is not a danger.
ALLOWED = {
    ("fastconv/__init__.py", "importlib.import_module"): "names of the table in the same file",
    ("fastconv/backends/c/__init__.py", "importlib.import_module"): "the extension's own name",
    ("fastconv/backends/c/library.py", "importlib.import_module"): "the extension's own name",
    ("fastconv/backends/c/objects.py", "importlib.import_module"): "the extension's own names",
    ("fastconv/peak.py", "importlib.import_module"): "names of the backends' libraries",
    ("fastconv/backends/numba/library.py", "importlib.import_module"):
        "names of the table in the same file",
    ("fastconv/dispatch/registry.py", "importlib.import_module"): "names of the registry's rows",
    ("fastconv/machine/cpu.py", "importlib.import_module"): "NumPy's own core",
    ("fastconv/backends/numba/engine/cache.py", "pickle.loads"):
        "the cache folder of this user: Numba's own format; see SECURITY.md",
    ("fastconv/backends/cuda/activation.py", "exec"): "fastconv's own expressions",
    ("fastconv/backends/cuda/activation.py", "compile"): "fastconv's own expressions",
    ("fastconv/backends/cuda/engine/source.py", "exec"): "syntax trees of fastconv's own kernels",
    ("fastconv/backends/cuda/engine/source.py", "eval"): "constants of fastconv's own kernels",
    ("fastconv/backends/cuda/engine/source.py", "compile"): "fastconv's own kernels",
    ("fastconv/formats/weights/files.py", "np.lib.format.read_array"): "with allow_pickle=False",
    ("fastconv/as_onnxruntime.py", "runpy.run_path"): "the program that the user names",
    ("fastconv/formats/onnx/runtime/modules.py", "importlib.import_module"):
        "names of the table in the same file",
    ("fastconv/cli/feeds.py", "np.load"): "with allow_pickle=False",
    ("fastconv/cli/images.py", "np.load"): "with allow_pickle=False",
}  # fmt: skip


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a module with the name that it is written with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_code_is_never_made_of_data(told: Callable[[str, str, str], None]) -> None:
    found: set[tuple[str, str]] = set()
    files = sorted((ROOT / "fastconv").rglob("*.py"))
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        name = path.relative_to(ROOT).as_posix()
        aliased = [
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if f"{node.module}.{alias.name}" in RISKY
        ]
        assert not aliased, f"{name} hides a call behind `from ... import`: {aliased}"
        for written, call in calls(tree):
            if written in RISKY:
                found.add((name, written))
            if any(k.arg == "allow_pickle" for k in call.keywords) or "np.load" in written:
                (allowed,) = (k.value for k in call.keywords if k.arg == "allow_pickle")
                assert isinstance(allowed, ast.Constant), f"{name}: {ast.unparse(call)}"
                assert allowed.value is False, f"{name}: {ast.unparse(call)}"
    assert found - set(ALLOWED) == set()
    # A reason that nothing needs any more hides the next one.
    assert set(ALLOWED) - found == set()
    told(
        TRUSTED,
        "every call in the source that could make code of data, against a list with reasons",
        f"{len(files)} files: {len(found)} calls, each with its reason",
    )


def run(source: str) -> subprocess.CompletedProcess[str]:
    """Run source in a fresh interpreter."""
    return subprocess.run(
        [
            sys.executable,
            "-X",
            "utf8",
            "-W",
            "error::ResourceWarning",
            "-c",
            textwrap.dedent(source),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "FASTCONV_TUNING": "off"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def test_no_network_is_used(told: Callable[[str, str, str], None]) -> None:
    done = run("""
        import socket, sys

        def refuse(event, arguments):
            if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
                raise SystemExit(f"network: {event} {arguments}")

        sys.addaudithook(refuse)
        try:
            socket.socket()
        except SystemExit:
            print("guarded")
        import fastconv
        from tests.trust import public_calls

        for name in dir(fastconv):
            getattr(fastconv, name)
        done = 0
        for group in (public_calls.functional, public_calls.layers, public_calls.tools):
            for call in group():
                call.run({})
                done += 1
        print(done)
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    guarded, count = done.stdout.split()
    assert guarded == "guarded"
    told(
        "no network is used at run time",
        "everything public imported and called where any use of a socket ends the process",
        f"{count} calls",
    )
