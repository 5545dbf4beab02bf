"""Tensor maps as the driver encodes them. Nothing here is imported before a GPU is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.cuda.engine.tensormap import Images, Spec, encoding, why_not

# Bytes of a map.
MAP_BYTES = 128


def encoded(spec: Spec, address: int) -> np.ndarray[Any, Any]:
    """Encode a description for an address on the GPU, as 16 words.

    Raises
    ------
    ValueError
        Where the description breaks one of the driver's limits.
    RuntimeError
        Where the driver refuses.
    """
    from cuda.bindings import driver

    reason = why_not(spec)
    if reason is not None or address % 16:
        raise ValueError(f"no tensor map at {address:#x} for {spec}: {reason or 'misaligned'}")
    kinds = driver.CUtensorMapDataType
    kind = {
        "float16": kinds.CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        "bfloat16": kinds.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        "float32": kinds.CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
    }[spec.dtype]
    sizes, strides, *middle, steps = encoding(spec)
    encode = driver.cuTensorMapEncodeTiled
    if isinstance(spec, Images):
        first, last, channels, pixels = middle
        middle = [[*first], [*last], channels, pixels]
        encode = driver.cuTensorMapEncodeIm2col
    else:
        middle = [[driver.cuuint32_t(side) for side in middle[0]]]
    status, made = encode(
        kind, len(sizes), address,
        [driver.cuuint64_t(n) for n in sizes], [driver.cuuint64_t(n) for n in strides], *middle,
        [driver.cuuint32_t(n) for n in steps],
        driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        getattr(driver.CUtensorMapSwizzle, f"CU_TENSOR_MAP_SWIZZLE_{spec.line}B"),
        driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )  # fmt: skip
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"encoding {spec} failed: {status}")
    return np.array([int(word) for word in made.opaque], np.uint64)
