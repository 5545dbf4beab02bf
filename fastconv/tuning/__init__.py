"""Tuning: measure the convolutions of a network or a list of shapes, and keep what was fastest."""

from fastconv.tuning.report import Report, Tuned
from fastconv.tuning.run import tune
from fastconv.tuning.shapes import problem_of, read_csv, text_of

__all__ = ["Report", "Tuned", "problem_of", "read_csv", "text_of", "tune"]
