"""The fully connected layer on Hopper's tensor cores: a convolution of one tap over the rows."""

from __future__ import annotations

from fastconv.backends.base import Array, Cost
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.conv.hopper import DirectHopper, plan_hopper
from fastconv.backends.cuda.engine.plan import CudaPlan
from fastconv.machine import Machine
from fastconv.problem import ConvProblem, LinearProblem

_CONV = DirectHopper()


class LinearHopper(CudaAlgorithm):
    """Rows times a weight by warpgroups: halves, or float32 rounded to tf32; sums in float32."""

    name = "gemm_hopper"
    moves_parameters = True

    def why_not(self, problem: LinearProblem) -> str | None:
        if problem.in_features == 0:
            return "there are no products to sum"
        return _CONV.why_not(as_convolution(problem))

    def cost(self, problem: LinearProblem, machine: Machine) -> Cost:
        return _CONV.cost(as_convolution(problem), machine)

    def error_bound(self, problem: LinearProblem) -> float:
        return _CONV.error_bound(as_convolution(problem))

    def manner(self, problem: LinearProblem) -> str | None:
        return _CONV.manner(as_convolution(problem))

    def launches(self, problem: LinearProblem, *parameters: Array | None) -> CudaPlan:
        weight, bias = parameters
        assert weight is not None
        return plan_hopper(as_convolution(problem), weight[..., None], bias)


def as_convolution(problem: LinearProblem) -> ConvProblem:
    """Return the convolution of a signal: positions are the rows, channels the features."""
    return ConvProblem(
        dtype=problem.dtype,
        batch=1,
        in_channels=problem.in_features,
        out_channels=problem.out_features,
        groups=1,
        input_size=(problem.batch,),
        kernel_size=(1,),
        stride=(1,),
        padding=((0, 0),),
        dilation=(1,),
        channels_last=True,
        bias=problem.bias,
        activation=problem.activation,
        rtol=problem.rtol,
        precision=problem.precision,
    )
