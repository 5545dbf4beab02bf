"""onnx's node tests, of operators that are read, that do not pass: patterns, each with its reason.

The first pattern that fits a test's name counts. A test that stands here and passes is an error.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

GAPS: tuple[tuple[str, str], ...] = (
    ("test_averagepool_*dilations*", "average pooling has no dilation in torch's API, nor here"),
    ("test_lppool_2d_dilations", "Lp pooling has no dilation in torch's API, nor here"),
    ("test_batchnorm_*training_mode", "statistics from the batch: forward only, same bits"),
    ("test_training_dropout*", "training"),
    ("test_cast*_to_FLOAT8*", "floats of 8 bits"),
    ("test_cast*_to_FLOAT4*", "floats of 4 bits"),
    ("test_cast*_to_*INT[24]*", "integers of 2 and 4 bits"),
    ("test_dropout_default_mask*", "the mask of what training would drop"),
    ("test_identity_sequence", "a sequence is no tensor"),
    ("test_identity_opt", "an optional is no tensor"),
    ("test_not_?d", "opset 1 is older than 7"),
    ("test_reduce_max_empty_set*", "the maximum of nothing is an error"),
    ("test_reduce_min_empty_set", "the minimum of nothing is an error"),
    ("test_resize_*nearest*", "nearest by other coordinates than asymmetric, floor"),
    ("test_resize_*antialias*", "onnx's antialiasing filter is not torch's"),
    ("test_resize_*cubic_A_n0p5*", "cubic_coeff_a other than -0.75"),
    ("test_resize_*cubic_asymmetric", "cubic with asymmetric coordinates"),
    ("test_resize_*half_pixel_symmetric", "half_pixel_symmetric coordinates"),
    ("test_resize_tf_crop_and_resize*", "crop and resize in one"),
    ("test_resize_downsample_scales_*_align_corners", "onnx aligns corners of a fractional size"),
    ("test_resize_downsample_sizes_linear_pytorch_half_pixel", "pytorch_half_pixel to length 1"),
)


def gap(name: str) -> str | None:
    """Give the reason why a test is not expected to pass; None: it is."""
    return next((reason for pattern, reason in GAPS if fnmatchcase(name, pattern)), None)
