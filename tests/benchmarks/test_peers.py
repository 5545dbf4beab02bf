from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import ours
from benchmarks.cases import Case
from benchmarks.measure import LOOSE, WRONG, expect
from benchmarks.peers import PEERS, Peer
from benchmarks.rival import Rival, error, refusal


def conv(name: str, shape: Any, weight: Any, op: str = "conv2d", **options: Any) -> Case:
    return Case(name, op, shape, weight, options)


def pool(name: str, op: str, shape: Any, **options: Any) -> Case:
    return Case(name, op, shape, None, options)


CASES = (
    conv("plain", (1, 4, 9, 11), (6, 4, 3, 3), padding=1),
    conv("oblong", (2, 4, 9, 11), (6, 4, 1, 5), stride=(2, 1), padding=(0, 2)),
    conv("strided", (1, 4, 9, 11), (6, 4, 3, 3), stride=2, padding=1),
    conv("dilated", (1, 4, 12, 11), (6, 4, 3, 3), dilation=2, padding=2),
    conv("grouped", (1, 4, 9, 11), (6, 2, 3, 3), groups=2, padding=1),
    conv("depthwise", (1, 4, 9, 11), (4, 1, 3, 3), groups=4, padding=1),
    conv("multiplied", (1, 4, 9, 11), (8, 1, 3, 3), groups=4, padding=1),
    conv("signal", (1, 4, 40), (6, 4, 3), "conv1d", padding=2, stride=2),
    conv("causal", (1, 4, 40), (6, 4, 3), "conv1d", padding="causal", dilation=4),
    conv("fir", (1, 1, 90), (1, 1, 7), "conv1d"),
    conv("fir.same", (1, 1, 90), (1, 1, 7), "conv1d", padding=3),
    conv("volume", (1, 3, 6, 7, 8), (5, 3, 2, 3, 4), "conv3d", stride=(1, 2, 1), padding=(0, 1, 2)),
    conv("up", (1, 4, 5, 6), (4, 6, 4, 4), "conv_transpose2d", stride=2, padding=1),
    conv("up.none", (1, 4, 5, 6), (4, 6, 2, 2), "conv_transpose2d", stride=2),
    conv("up.extra", (1, 4, 5, 6), (4, 6, 3, 3), "conv_transpose2d", stride=2, padding=1,
         output_padding=1),
    conv("up.groups", (1, 4, 5, 6), (4, 3, 2, 2), "conv_transpose2d", stride=2, groups=2),
    conv("up.signal", (1, 4, 9), (4, 6, 4), "conv_transpose1d", stride=2, padding=1),
    conv("filter", (1, 1, 20, 21), (1, 1, 5, 3), padding=(2, 1)),
    Case("separable", "conv2d", (1, 1, 20, 21), (1, 1, 5, 7), {"padding": (2, 3)}, separable=True),
    pool("max", "max_pool2d", (1, 4, 12, 13), kernel_size=3, stride=2, padding=1),
    pool("max.oblong", "max_pool2d", (1, 4, 12, 13), kernel_size=(2, 3)),
    pool("max.ceil", "max_pool2d", (1, 4, 12, 13), kernel_size=3, stride=2, ceil_mode=True),
    pool("max.dilated", "max_pool2d", (1, 4, 12, 13), kernel_size=3, dilation=2),
    pool("max.moving", "max_pool2d", (1, 1, 12, 13), kernel_size=(3, 5), stride=1, padding=(1, 2)),
    pool("max.signal", "max_pool1d", (1, 4, 30), kernel_size=3, stride=2, padding=1),
    pool("max.volume", "max_pool3d", (1, 2, 6, 7, 8), kernel_size=2),
    pool("avg", "avg_pool2d", (1, 4, 12, 13), kernel_size=3, stride=2, padding=1),
    pool("avg.moving", "avg_pool2d", (1, 1, 12, 13), kernel_size=(3, 5), stride=1, padding=(1, 2)),
    pool("avg.inner", "avg_pool2d", (1, 4, 12, 13), kernel_size=3, stride=1, padding=1,
         count_include_pad=False),
    pool("lp", "lp_pool2d", (1, 4, 12, 13), norm_type=2, kernel_size=2),
    pool("global", "adaptive_avg_pool2d", (1, 4, 7, 5), output_size=1),
    pool("global.max", "adaptive_max_pool2d", (1, 4, 7, 5), output_size=1),
    pool("adaptive", "adaptive_avg_pool2d", (1, 4, 7, 5), output_size=3),
)  # fmt: skip


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_gives_the_right_answer_wherever_it_says_that_it_can(peer: Peer) -> None:
    if peer.missing():
        pytest.skip(str(peer.missing()))
    # MNN's transforms are coarse: it is timed, but does not count.
    bounds = WRONG if peer.name == "MNN" else LOOSE
    able = [case for case in CASES if peer.can(case) is None]
    assert len(able) >= 2
    for case in able:
        rival = peer.build(case, 1)
        assert rival.check(expect(case)) <= bounds[case.dtype], case.name
        assert len(rival.turn(2)) == 2


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_what_a_peer_cannot_do_has_a_word(peer: Peer) -> None:
    words = [peer.can(case) for case in CASES]
    words.append(peer.can(Case("i", "conv2d", (1, 1, 9, 9), (1, 1, 3, 3), dtype="int8")))
    assert all(word is None or word for word in words)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_that_is_not_there_says_so(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "needs", {"no_such_module": "no-such-package"})
    assert refusal(peer, CASES[0]) == "no-such-package is not installed"


@pytest.mark.parametrize("maker", [ours.Call(), ours.Call(last=True), ours.InNetwork()])
@pytest.mark.parametrize("name", ["oblong", "causal", "volume", "up.extra", "max", "lp", "global"])
def test_fastconv_as_a_contestant(maker: Any, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    assert maker.build(case, 1).check(expect(case)) <= LOOSE[case.dtype]


def test_candidates_begin_with_the_chosen_one() -> None:
    case = CASES[0]
    calls = ours.candidates(case)
    assert calls[0].name == str(ours.choice(case).algorithm)
    assert all("reference" not in call.name for call in calls)
    assert calls[-1].build(case, 1).check(expect(case)) <= LOOSE[case.dtype]


def test_an_error_is_relative_to_the_deviation() -> None:
    expected = np.array([0.0, 4.0])
    assert error(np.array([0.0, 5.0], np.float32), expected) == 0.5
    with pytest.raises(ValueError, match="shape"):
        error(np.zeros(3), expected)


def test_a_turn_runs_once_untimed() -> None:
    count: list[int] = []
    rival = Rival(lambda: count.append(1), lambda: np.zeros(1))
    assert len(rival.turn(3)) == 3
    assert len(count) == 4
