"""Where fastconv differs from PyTorch on purpose: every sample that is refused is here.

docs/semantics.md says the same to users. A row that no sample needs is an error, in the full form.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Gap(NamedTuple):
    """A refusal that is meant: patterns of the operator and of the error, and the reason."""

    operator: str
    error: str
    reason: str


FLOATS = "sigmoid|tanh|silu|softsign|avg_pool[123]d|local_response_norm|interpolate"

REFUSED = (
    Gap(FLOATS, r"TypeError: .* has dtype \w+; accepted are", "floats alone"),
    Gap(
        r"(log_)?softmax",
        r"TypeError: .* has dtype (complex\w+|bool); accepted are",
        "floats, and integers where a dtype is given",
    ),
    Gap(
        r"(group|layer)_norm",
        "ValueError: .*eps must be non-negative",
        "an eps below zero may make NaN of any image",
    ),
    Gap(
        "batch_norm",
        r"ValueError: Expected at least 2D input .* got 1D input of size \[0\]",
        "channels are the second axis: an input without one has none",
    ),
    Gap(
        "BatchNorm[123]d",
        "ValueError: .*batch_norm with training=True takes its statistics from the batch",
        "without running statistics an image's result would depend on the rest of the batch",
    ),
)

# Of what torch refuses, this is taken.
TAKEN = (
    Gap(
        r"conv[123]d",
        r"padding='same' is not supported for strided convolutions",
        "ONNX's SAME_UPPER gives it a meaning",
    ),
)

# Integers keep torch's values while these fit its dtype; the result has the accumulator's.
WIDER = ("linear", "conv1d", "conv2d", "conv3d")

# What a backend without a kernel says; the others, and no backend at all, serve the call.
CANNOT = "cannot run as asked"

# In `fastconv.functional`, and not in torch's list of operators.
OURS = {
    "convolve": "the kernel flipped: fastconv's own",
    "global_avg_pool": "ONNX's", "global_lp_pool": "ONNX's", "global_max_pool": "ONNX's",
    **dict.fromkeys(("lstm", "gru", "rnn"), "torch's modules: tests/nn/test_recurrent.py"),
    "fold": "in no list of torch's: tests/functional/test_unfold.py",
    "matmul": "torch.matmul: tests/backends/test_products.py",
    "lp_pool1d": "in torch's list of modules", "lp_pool2d": "in torch's list of modules",
    "lp_pool3d": "in torch's list of modules",
    "weighted_pool1d": "fastconv's own", "weighted_pool2d": "fastconv's own",
    "weighted_pool3d": "fastconv's own",
}  # fmt: skip

# Of torch.nn.functional, what fastconv has not.
NOT_OFFERED = {
    "losses": (
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss",
        "cross_entropy", "ctc_loss", "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss",
        "kl_div", "l1_loss", "linear_cross_entropy", "margin_ranking_loss", "mse_loss",
        "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "nll_loss",
        "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
        "triplet_margin_with_distance_loss",
    ),
    "random numbers": (
        "alpha_dropout", "dropout2d", "dropout3d", "feature_alpha_dropout",
        "fractional_max_pool2d", "fractional_max_pool3d", "rrelu",
    ),
    "attention and embeddings": (
        "embedding", "embedding_bag", "multi_head_attention_forward", "one_hot",
    ),
    "activations": (
        "glu", "hardshrink", "logsigmoid", "softmin", "softshrink", "tanhshrink", "threshold",
    ),
    "distances and products": (
        "bilinear", "cosine_similarity", "normalize", "pairwise_distance", "pdist",
    ),
    "images and channels": (
        "channel_shuffle", "grid_sample", "rms_norm", "upsample_bilinear", "upsample_nearest",
    ),
}  # fmt: skip


def rows_of(rows: tuple[Gap, ...], operator: str) -> set[Gap]:
    """Return the rows that speak of an operator."""
    return {row for row in rows if re.fullmatch(row.operator, operator)}


def gap(rows: tuple[Gap, ...], operator: str, error: str) -> Gap | None:
    """Find the row that a refusal is in."""
    found = (row for row in rows if re.fullmatch(row.operator, operator))
    return next((row for row in found if re.search(row.error, error)), None)
