"""onnxruntime's exceptions by its names, for programs that catch them.

All are ValueErrors, as fastconv's own errors are. Those for a dtype are TypeErrors as well.
"""

from __future__ import annotations


class Fail(ValueError):
    """A run that failed, or was told to end."""


class InvalidArgument(ValueError):
    """Inputs or outputs that the model does not have, or of other shapes or dtypes."""


class InvalidType(InvalidArgument, TypeError):
    """An input of another dtype."""


class FailedType(Fail, TypeError):
    """A node that does not take the dtype that it was passed."""


class NoSuchFile(ValueError, FileNotFoundError):
    """A model's file that does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class NoModel(ValueError):
    """A session without a model."""


class EngineError(ValueError):
    """An error of an execution engine; never raised here."""


class RuntimeException(ValueError):
    """An error of the runtime itself; never raised here."""


class InvalidProtobuf(ValueError):
    """Bytes that are not an ONNX model."""


class ModelLoaded(ValueError):
    """A model that is loaded twice; never raised here."""


class OperatorNotImplemented(ValueError):
    """A model with operators that cannot be run."""


class InvalidGraph(ValueError):
    """A model that the ONNX specification does not allow."""


class EPFail(ValueError):
    """An error of an execution provider; never raised here."""


class ModelLoadCanceled(ValueError):
    """A model whose loading was cancelled; never raised here."""


class ModelRequiresCompilation(ValueError):
    """A model that must be compiled first; never raised here."""


class NotFound(ValueError):
    """Something that was asked for by name and does not exist; never raised here."""


class DeviceReset(ValueError):
    """A device that was reset; never raised here."""


class CallError(ValueError, RuntimeError):
    """A call that onnxruntime refuses by a RuntimeError."""


# The exceptions that programs find in onnxruntime's extension module. NotImplemented has another
# name here, which Python's own does not hide.
EXCEPTIONS: dict[str, type[Exception]] = {
    "NotImplemented": OperatorNotImplemented,
    **{
        each.__name__: each
        for each in (
            DeviceReset, EPFail, EngineError, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf,
            ModelLoadCanceled, ModelLoaded, ModelRequiresCompilation, NoModel, NoSuchFile, NotFound,
            RuntimeException,
        )
    },
}  # fmt: skip
