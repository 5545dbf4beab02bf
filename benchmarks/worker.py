"""Run cases with the fastconv of another folder, as told line by line; see `benchmarks.baseline`.

Usage: python -m benchmarks.worker FOLDER, where FOLDER holds the package ``fastconv``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases


def main() -> None:
    """Answer requests from standard input on standard output until it ends."""
    folder = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(folder))
    # Answers go to the pipe alone, whatever libraries print.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ours = importlib.import_module("benchmarks.ours")
    found = Path(ours.fastconv.__file__).resolve()
    if folder not in found.parents:
        raise SystemExit(f"there is no fastconv in {folder}: {found} would be taken")
    state: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": _answer(state, ours, request)}
        except Exception as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(state: dict[str, Any], ours: Any, request: dict[str, Any]) -> Any:
    if request["do"] == "build":
        case = next(c for c in cases.suites()[request["suite"]] if c.name == request["case"])
        plain = request["suite"] in cases.PLAIN
        call = ours.Call(last=request["last"] and not plain, packed=not plain)
        maker = ours.InNetwork() if request["network"] else call
        state[request["rival"]] = made = maker.build(case, request["threads"])
        made.calls = case.calls
        return None
    rival = state[request["rival"]]
    if request["do"] == "check":
        return rival.check(np.load(request["expected"]))
    return rival.turn(request["runs"])


if __name__ == "__main__":
    main()
