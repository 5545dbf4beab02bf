"""Who meets whom in which suite, and the rows that come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

from benchmarks import ours
from benchmarks.baseline import Worker
from benchmarks.cases import PLAIN, Case, suites
from benchmarks.measure import Result, expect, first_line, measure
from benchmarks.peers import PEERS
from benchmarks.rival import Maker, Timed, refusal
from fastconv.settings import cores_allowed

OWN = ("fastconv", "network")
# Seconds between the turns of many threads. OpenMP's, of PyTorch among others, look at memory
# 300,000 times before they sleep: 4 to 6 ms, in which they take a core from whose turn it is.
PAUSE = 10e-3
# PyTorch in its two memory formats, the rivals there.
TORCH = ("torch", "torch_cl")
_SCALING = ("fastconv", "network", "torch", "torch_cl", "onnxruntime", "openvino", "ncnn", "litert")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was asked for; ``seconds`` are for one case, all contestants together."""

    threads: int = 1
    seconds: float = 3.0
    layout: str = "NCHW"
    quick: bool = False
    filter: str = ""
    peers: tuple[str, ...] = ()

    @property
    def last(self) -> bool:
        """Whether fastconv gets and gives channels last."""
        return self.layout == "NHWC"

    def cases(self, suite: str) -> list[Case]:
        """Return the suite's cases that were asked for."""
        return [
            case
            for case in suites()[suite]
            if self.filter in case.name and (case.quick or not self.quick)
        ]


@dataclasses.dataclass(frozen=True)
class Row:
    """A case and what its contestants took; ``refused`` has the word of those who did not run."""

    suite: str
    case: str
    dtype: str
    algorithm: str
    flops: int
    bytes: int
    results: dict[str, Result]
    refused: dict[str, str]
    group: str = ""

    def seconds(self, name: str) -> float | None:
        """Return a contestant's median, if it ran."""
        result = self.results.get(name)
        return None if result is None else result.seconds

    def best(self, names: Iterable[str] | None = None) -> tuple[str, float] | None:
        """Return the fastest of ``names``, by default the peers, among those exact enough."""
        wanted = [n for n in self.results if n not in OWN] if names is None else list(names)
        times = {
            name: result.seconds
            for name, result in self.results.items()
            if name in wanted and result.seconds is not None and not result.loose
        }
        return min(times.items(), key=lambda item: item[1]) if times else None

    def ratio(self, name: str = "fastconv", peers: Iterable[str] | None = None) -> float | None:
        """Return the time of the best of ``peers``, by default all, over ours; above 1 we win."""
        mine, peer = self.seconds(name), self.best(peers)
        return None if mine is None or peer is None else peer[1] / mine


def run(suite: str, plan: Plan) -> Iterator[Row]:
    """Measure a suite, a row at a time."""
    contestants: Callable[[Case, Plan], _Entries] = {
        "algorithms": _algorithms,
        "threads": _scaling,
        "functional": _plain,
        "overhead": _plain,
    }.get(suite, _everyone)
    for case in plan.cases(suite):
        yield _row(suite, case, plan, *_build(case, contestants(case, plan)))


def run_against(suite: str, plan: Plan, workers: Mapping[str, Worker]) -> Iterator[Row]:
    """Measure a suite's cases in two fastconvs, as calls and as networks of one layer.

    A suite of plain calls has no networks but those that it names.
    """
    for case in plan.cases(suite):
        rivals: dict[str, Timed] = {}
        refused = {}
        for network in (False,) if plan.last or suite in PLAIN else (False, True):
            for age, worker in workers.items():
                name = f"{age} network" if network else age
                try:
                    rivals[name] = worker.build(
                        suite, case.name, plan.threads, network=network, last=plan.last
                    )
                except RuntimeError as problem:
                    refused[name] = first_line(problem)
        yield _row(suite, case, plan, rivals, refused)


_Entries = list[tuple[str, Maker, int]]


def _everyone(case: Case, plan: Plan) -> _Entries:
    return [(maker.name, maker, plan.threads) for maker in makers(plan)]


def makers(plan: Plan) -> list[Maker]:
    """Return fastconv and the peers that were asked for."""
    own: list[Maker] = [ours.Call(last=plan.last)]
    if not plan.last:
        own.append(ours.InNetwork())
    return own + [peer for peer in PEERS if not plan.peers or peer.name in plan.peers]


def _plain(case: Case, plan: Plan) -> _Entries:
    """Return fastconv on plain arrays, and the peers that have plain calls.

    The cases say themselves where the channels are, whatever the plan does.
    """
    peers = [peer for peer in PEERS if not plan.peers or peer.name in plan.peers]
    wanted: list[Maker] = [ours.Call(packed=False), *(peer for peer in peers if peer.plain)]
    return [(maker.name, maker, plan.threads) for maker in wanted]


def _scaling(case: Case, plan: Plan) -> _Entries:
    wanted = [maker for maker in makers(plan) if maker.name in _SCALING]
    return [
        (f"{maker.name}@{count}", maker, count) for maker in wanted for count in thread_counts()
    ]


def _algorithms(case: Case, plan: Plan) -> _Entries:
    return [(call.name, call, plan.threads) for call in ours.candidates(case, plan.last)]


def _build(case: Case, entries: _Entries) -> tuple[dict[str, Timed], dict[str, str]]:
    rivals: dict[str, Timed] = {}
    refused = {}
    for name, maker, threads in entries:
        why_not = refusal(maker, case)
        if why_not is None:
            try:
                rivals[name] = made = maker.build(case, threads)
                made.calls = case.calls
            # Whatever a library may raise for what it cannot do.
            except Exception as problem:
                why_not = first_line(problem)
        if why_not is not None:
            refused[name] = why_not
    return rivals, refused


def _row(
    suite: str, case: Case, plan: Plan, rivals: Mapping[str, Timed], refused: dict[str, str]
) -> Row:
    expected = expect(case)
    many = plan.threads > 1 or suite == "threads"
    results = measure(case, rivals, expected, plan.seconds, pause=PAUSE if many else 0.0)
    refused |= {n: r.why_not for n, r in results.items() if r.why_not is not None}
    return Row(
        suite,
        case.name,
        case.dtype,
        str(ours.choice(case, plan.last and suite not in PLAIN, suite not in PLAIN).algorithm),
        case.flops(expected.size),
        case.bytes(expected.size),
        {n: r for n, r in results.items() if r.why_not is None},
        refused,
        case.group,
    )


def thread_counts() -> list[int]:
    """Return the counts to try: powers of 2 below the cores that the process may use, and those."""
    cores = cores_allowed()
    return sorted({2**i for i in range(8) if 2**i < cores} | {cores})
