"""WHICH: the registry, the choosing, and the one road from a problem to a result."""

from fastconv.dispatch.choose import Candidate, Choice, choose
from fastconv.dispatch.parameter import Parameter
from fastconv.dispatch.registry import algorithms
from fastconv.dispatch.run import find_plan, holding_plan, solve
from fastconv.dispatch.tuning import set_tuning

__all__ = [
    "Candidate",
    "Choice",
    "Parameter",
    "algorithms",
    "choose",
    "find_plan",
    "holding_plan",
    "set_tuning",
    "solve",
]
