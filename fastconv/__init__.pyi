from . import formats as formats
from . import functional as functional
from . import models as models
from . import network as network
from . import nn as nn
from . import onnx as onnx
from . import plot as plot
from . import torch as torch
from . import tuning as tuning
from ._version import __version__ as __version__
from .config import show_config as show_config
from .dispatch import Parameter as Parameter
from .dispatch import set_tuning as set_tuning
from .formats import load as load
from .formats.onnx.session import InferenceSession as InferenceSession
from .formats.onnx.session import SessionOptions as SessionOptions
from .formats.weights import keras_weights as keras_weights
from .formats.weights import load_weights as load_weights
from .functional import *  # noqa: F403
from .network import Network as Network
from .network import compile_module as _compile
from .network import explain as explain
from .network.warmup import warmup as warmup
from .settings import get_num_threads as get_num_threads
from .settings import set_num_threads as set_num_threads
from .tuning import tune as tune

compile = _compile
