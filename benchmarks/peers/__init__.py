"""The peers, each set as its own users would set it for speed; nothing else here knows of them.

Weights are packed before the clock starts wherever a peer can pack them, inputs are in the layout
that the peer likes best, and its threads are as many as asked for. A peer that is not installed
or has no such operation says so in a word.
"""

from benchmarks.peers.base import Peer
from benchmarks.peers.filters import NumpyCorrelate, OpenCv, ScipyFft, ScipyNdimage
from benchmarks.peers.litert import LiteRt
from benchmarks.peers.ncnn import Ncnn
from benchmarks.peers.onnx_models import Mnn, OnnxRuntime, OpenVino
from benchmarks.peers.pytorch import Torch

__all__ = ["PEERS", "Peer"]

PEERS: tuple[Peer, ...] = (
    Torch(),
    Torch(last=True),
    OnnxRuntime(),
    OpenVino(),
    Ncnn(),
    Mnn(),
    LiteRt(),
    ScipyFft(),
    ScipyNdimage(),
    NumpyCorrelate(),
    OpenCv(),
)
