"""A network ready to run: a graph or a module behind one face."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.arrays import check_unmasked, ready
from fastconv.device_arrays import as_device_array
from fastconv.network.compiled import Compiled, Shapes, Values, with_values
from fastconv.network.explanation import Explanation, explain_compiled, explain_trace
from fastconv.network.graph import Graph, Port
from fastconv.network.layers import Layers
from fastconv.network.profile import Profile, take_profile
from fastconv.network.summary import Summary, tabulate
from fastconv.network.timed import TimedSpan, run_timed
from fastconv.network.tolerance import Bounded, Rounded, unwrapped
from fastconv.network.trace import Trace, trace
from fastconv.problem.conv import check_precision, check_rtol
from fastconv.problem.values import dtype_of, flag, integer, is_sequence, items_of, shapes_of, shown


@dataclasses.dataclass(frozen=True)
class Overridable:
    """Weights of a model that a run may replace, by name: ``network`` takes them as inputs too.

    ``refused`` says why it does not, where it cannot be made.
    """

    names: frozenset[str]
    network: Network | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refused: str = ""

    @property
    def ports(self) -> tuple[Port, ...]:
        """What a run may feed besides the inputs."""
        own = () if self.network is None else self.network.inputs
        return tuple(port for port in own if port.name in self.names)

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run with some of the weights replaced.

        Raises
        ------
        ValueError
            Where they cannot be.
        """
        if self.network is None:
            raise ValueError(
                f"inputs {', '.join(sorted(self.names & set(feeds)))} have initializers, which "
                f"cannot be replaced at run time: {self.refused}"
            )
        return self.network.run(outputs, {**self.defaults, **feeds})

    def changed(self, change: Callable[[Network], Network]) -> Overridable:
        """Return the same with another network."""
        network = None if self.network is None else change(self.network)
        return dataclasses.replace(self, network=network)


class Network:
    """A trained network: call it on arrays.

    For each shape of its inputs it is traced once, rewritten (see `fastconv.network.passes`) and
    planned; a call is then one native call wherever nothing but fastconv's own operations is in
    it. The weights are those of that time. Threads may share a network, and a forked child may
    use its parent's.

    Parameters
    ----------
    function : callable
        Takes the inputs in order, gives one output or a tuple.
    inputs, outputs : sequences of Port
        Names, shapes (open sizes by name or None) and dtypes.
    max_memory : int, optional
        The most bytes of memory that a call may take besides weights, inputs and outputs. Leaner
        algorithms are taken where it needs them; a ValueError says where those need more. None:
        the memory that this process may use.
    fallbacks : sequence of str
        Nodes that are run by a format's own reference implementation: right, and slow.
    overridable : Overridable, optional
        Weights that a run may replace.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        name: str = "",
        *,
        max_memory: int | None = None,
        fallbacks: Sequence[str] = (),
        overridable: Overridable | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable, not {shown(function)}")
        check_max_memory(max_memory)
        for ports, what in ((inputs, "inputs"), (outputs, "outputs")):
            if not is_sequence(ports) or not all(isinstance(port, Port) for port in ports):
                raise TypeError(f"{what} must be a sequence of Ports, not {shown(ports)}")
        if not is_sequence(fallbacks):
            raise TypeError(f"fallbacks must be names of nodes, not {shown(fallbacks)}")
        self.function = function
        self.fallbacks = tuple(fallbacks)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.name = name
        self.max_memory = max_memory
        self.overridable = overridable
        self._shapes = Shapes(function, max_memory, self.open_sizes)
        self._layers = Layers(self)

    @classmethod
    def from_graph(
        cls,
        graph: Graph,
        *,
        max_memory: int | None = None,
        overridable: Overridable | None = None,
    ) -> Network:
        """Return a graph as a network."""
        function = GraphFunction(graph, max_memory)
        return cls(
            function, graph.inputs, graph.outputs, graph.name,
            max_memory=max_memory, fallbacks=graph.fallbacks, overridable=overridable,
        )  # fmt: skip

    @property
    def open_sizes(self) -> tuple[tuple[bool, ...], ...]:
        """For each input which of its dimensions after the first are open; none are: empty."""
        found = tuple(tuple(not isinstance(n, int) for n in port.shape[1:]) for port in self.inputs)
        return found if any(any(each) for each in found) else ()

    def within(self, rtol: float) -> Network:
        """Return the same network with one error bound for the whole of it.

        By itself each operation may err by its own ``rtol``, 1e-4. Here each is given
        ``rtol / sqrt(depth)``, where ``depth`` is how many convolutions and linear layers follow
        one another at most: errors add as random numbers do. That bounds the outputs' error in
        networks that hand errors on as large as they came. Some magnify them; what a network does
        shows in how float32 and float64 differ without fastconv.

        Parameters
        ----------
        rtol : float
            The largest error to expect of an output, relative to its standard deviation. Operations
            whose own bound is tighter keep it; zero means the most exact algorithms there are.

        Returns
        -------
        Network
            It shares the weights. Files and pickles of it keep the bound.

        Raises
        ------
        ValueError
            For a negative ``rtol``. Running a network that looks at data is one too, since it
            cannot be told how deep that is.
        TypeError
            For an ``rtol`` that is not a number.
        """
        function: Callable[..., Any] = self.function
        if isinstance(function, GraphFunction):
            graph = dataclasses.replace(function.graph, rtol=check_rtol(rtol))
            function = dataclasses.replace(function, graph=graph)
        else:
            function = Bounded(unwrapped(function, Bounded), check_rtol(rtol))
        return self._of(function, lambda network: network.within(rtol))

    def with_precision(self, precision: str) -> Network:
        """Return the same network with leave to round the factors of float32 products.

        Tensor cores of a GPU need that; a CPU computes in float32 as before. Sums are float32.
        Operations that were given a precision of their own keep it.

        Parameters
        ----------
        precision : {"tf32", "3xtf32", "fp16", "bf16"}
            The coarsest rounding, as in `fastconv.conv2d`.

        Returns
        -------
        Network
            It shares the weights. Files and pickles of it keep the precision.

        Raises
        ------
        ValueError
            For another name.
        """
        found = check_precision(precision, np.dtype(np.float32))
        function: Callable[..., Any] = self.function
        if isinstance(function, GraphFunction):
            graph = dataclasses.replace(function.graph, precision=found)
            function = dataclasses.replace(function, graph=graph)
        elif found is not None:
            function = Rounded(unwrapped(function, Rounded), found)
        return self._of(function, lambda network: network.with_precision(precision))

    def _of(self, function: Callable[..., Any], change: Callable[[Network], Network]) -> Network:
        """Return the network of another function of the same inputs."""
        overridable = None if self.overridable is None else self.overridable.changed(change)
        return Network(
            function, self.inputs, self.outputs, self.name,
            max_memory=self.max_memory, fallbacks=self.fallbacks, overridable=overridable,
        )  # fmt: skip

    def __call__(self, *inputs: Any) -> Any:
        """Run forward: inputs in order, one array or a tuple of them back.

        Raises
        ------
        ValueError
            For a wrong number of inputs, or shapes that the network does not take.
        TypeError
            For a dtype that it does not take.
        """
        results = self._run(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    def _run(self, inputs: tuple[Any, ...]) -> list[Any]:
        known = self._shapes.known(inputs)
        if known is not None:
            return known.run(inputs)
        return self._shapes.run(self.checked(inputs))

    def checked(self, inputs: Sequence[Any]) -> list[Any]:
        """Return inputs as arrays that the network takes.

        Raises
        ------
        ValueError, TypeError
            As a call of the network does.
        """
        if len(inputs) != len(self.inputs):
            names = ", ".join(port.name for port in self.inputs)
            raise ValueError(
                f"the network takes {len(self.inputs)} inputs ({names}), but got {len(inputs)}"
            )
        pairs = zip(inputs, self.inputs, strict=True)
        return [_checked(value, port) for value, port in pairs]

    @property
    def layers(self) -> Layers:
        """The layers by name: ``network.layers["conv1"](x)`` gives what that layer gives."""
        return self._layers

    def outputs_of(self, names: Iterable[str], *inputs: Any) -> dict[str, Any]:
        """Return what several layers give, by name, from one run.

        Only what they need is run, by a program of its own that is kept for inputs of these
        shapes.

        Parameters
        ----------
        names : sequence of str
            Of ``network.layers``.
        *inputs
            As a call of the network takes them.

        Raises
        ------
        ValueError
            For a name that no layer has; where a call of the network does; and for a network of a
            module that cannot be traced.
        TypeError
            Where a call of the network does.
        """
        try:
            return self._layers.outputs_of(names, inputs)
        except KeyError as error:
            raise ValueError(error.args[0]) from None

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run as onnxruntime's sessions are run: inputs by name, a list of outputs back.

        ``outputs`` None gives all of them, in order. Weights that are ``overridable`` may be among
        the inputs.
        """
        return self.run_by_name(self._run, outputs, feeds)

    def run_by_name(
        self,
        run: Callable[[tuple[Any, ...]], list[Any]],
        outputs: Sequence[str] | None,
        feeds: Mapping[str, Any],
    ) -> list[Any]:
        """Run as `run` does, by a function from the inputs in order to all outputs in order."""
        known = [port.name for port in self.outputs]
        if not isinstance(feeds, Mapping):
            raise TypeError(f"feeds must be a mapping of input names to arrays, not {shown(feeds)}")
        if outputs is not None:
            if not is_sequence(outputs):
                raise TypeError(
                    f"outputs must be a sequence of names or None, not {shown(outputs)}"
                )
            outputs = items_of(outputs, "outputs")
        unknown = [n for n in outputs or () if not isinstance(n, str) or n not in known]
        if unknown:
            raise ValueError(
                f"there is no output {shown(unknown[0])}; there are {', '.join(known)}"
            )
        if self.overridable is not None and not self.overridable.names.isdisjoint(feeds):
            return self.overridable.run(outputs, feeds)
        names = [port.name for port in self.inputs]
        missing = [name for name in names if name not in feeds]
        extra = [name for name in feeds if name not in names]
        if missing or extra:
            raise ValueError(
                f"the network takes inputs {', '.join(names)}, but got "
                f"{', '.join(map(str, feeds)) or 'none'} in feeds"
            )
        several = dict(zip(known, run(tuple(feeds[name] for name in names)), strict=True))
        return [several[name] for name in (known if outputs is None else outputs)]

    def run_timed(self, inputs: Sequence[Any]) -> tuple[list[Any], list[TimedSpan]]:
        """Run operation by operation; return all outputs, and when each operation ran.

        The results are those of a call. `profile` tells more, of many runs.

        Raises
        ------
        ValueError, TypeError
            As a call of the network does.
        """
        arrays = self.checked(inputs)
        return run_timed(self.function, self._shapes.deciding(arrays), arrays, self.max_memory)

    def trace(self, input_shape: Any = None, *, values: Values = None) -> Trace:
        """Trace the network on shapes alone; open sizes are taken as 1 unless shapes are given.

        ``values``: as `explain` takes them.
        """
        specs = self._specs(input_shape)
        return trace(with_values(self._shapes, self.inputs, values).function, specs)

    def compiled(self, input_shape: Any = None, *, values: Values = None) -> Compiled | None:
        """Return what runs for a shape: program, passes and memory; None: it cannot be traced.

        ``values``: as `explain` takes them.
        """
        specs = self._specs(input_shape)
        return with_values(self._shapes, self.inputs, values).compiled(specs)

    def _specs(self, input_shape: Any) -> list[tuple[tuple[int, ...], str]]:
        if input_shape is None:
            shapes = [_closed(port) for port in self.inputs]
        else:
            shapes = shapes_of(input_shape)
        if len(shapes) != len(self.inputs):
            raise ValueError(
                f"input_shape must hold {len(self.inputs)} shapes, one an input, but got "
                f"{len(shapes)}"
            )
        return [(s, port.dtype) for s, port in zip(shapes, self.inputs, strict=True)]

    def summary(self, input_shape: Any = None, *, values: Values = None) -> Summary:
        """Tabulate the layers: shapes, parameters, work, receptive field, algorithm; memory.

        The layers are those of the network as it was given; `explain` tells what runs, and takes
        the same arguments.
        """
        table = tabulate(self.trace(input_shape, values=values), self.name)
        try:
            compiled = self.compiled(input_shape, values=values)
        except ValueError as error:
            return dataclasses.replace(table, memory=f"memory: {error}")
        memory = "" if compiled is None else str(compiled.footprint)
        return dataclasses.replace(table, memory=memory)

    def explain(
        self, input_shape: Any = None, *, measure: bool = False, passes: bool = False,
        values: Values = None,
    ) -> Explanation:  # fmt: skip
        """Report for every operation what runs, why, and why the others do not.

        Operations are those of the program that runs for the shape: what was folded or fused into
        one is named with it, and views, which do nothing, are left out.

        Parameters
        ----------
        input_shape : tuple of ints, or a sequence of such tuples, optional
            With the batch; open sizes are taken as 1 where it is not given.
        measure : bool
            Time every algorithm that can serve now, on one thread.
        passes : bool
            Tell too what each pass over the program changed, how much memory a forward pass takes
            and how near that is to the least, and how many native calls it is.
        values : mapping of names to arrays, optional
            Of inputs whose value decides which branch of the network runs, such as a sample rate:
            for each value the network is compiled with that branch alone. A network that has such
            inputs needs them here.

        Raises
        ------
        ValueError
            For a shape that the network does not take, a program beyond ``max_memory``, and where
            the value of an input that decides a branch is missing.
        """
        flag(measure, "measure"), flag(passes, "passes")
        compiled = self.compiled(input_shape, values=values)
        if compiled is None:
            return explain_trace(self.trace(input_shape, values=values), measure=measure)
        return explain_compiled(compiled, measure=measure, passes=passes)

    def profile(self, *inputs: Any, runs: int = 20) -> Profile:
        """Time every operation, run one by one, and the whole, run as it always is.

        Parameters
        ----------
        *inputs
            As a call of the network takes them.
        runs : int
            How many runs the medians are of.

        Returns
        -------
        Profile
            Printing it gives a table; ``save_trace`` writes what chrome://tracing shows, and
            ``save_timeline`` a picture.

        Raises
        ------
        ValueError, TypeError
            Where a call of the network raises them, and for a network that cannot be traced.
        """
        if integer(runs, "runs") < 1:
            raise ValueError(f"runs: a profile takes one run or more, but got {runs}")
        arrays = self.checked(inputs)
        shapes = self._shapes.deciding(arrays)
        compiled = shapes.compiled([(value.shape, value.dtype) for value in arrays])
        if compiled is None:
            raise ValueError(
                f"the network {self.name!r} looks at data, so that it runs as it is written and "
                f"has no operations to time"
            )
        return take_profile(compiled, [ready(value) for value in arrays], self.name, runs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that `fastconv.load` reads; neither needs onnx or torch.

        The file holds no code and no pickle: nodes with their attributes, and arrays. What is
        read gives the same bits. A network of a module is written as the calls that it makes;
        its batch stays open where they differ by multiples of the batch alone, else the file's
        network takes one image at a time.

        Parameters
        ----------
        path : str or path
            Such as "model.fastconv": `fastconv.load` goes by this suffix.

        Raises
        ------
        ValueError
            For another suffix; for nodes that only another package runs (see ``fallbacks``), and
            for modules that cannot be traced, or that have open sizes besides the batch.
        """
        from fastconv.network import storage

        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a str or a path, not {shown(path)}")
        if Path(path).suffix != storage.SUFFIX:
            raise ValueError(f"a network is saved to a file named *{storage.SUFFIX}, not {path}")
        if isinstance(self.function, GraphFunction):
            graph = self.function.graph
        else:
            try:
                graph = storage.record(self.function, self.inputs, self.outputs, self.name)
            except (TypeError, ValueError) as error:
                raise ValueError(f"the network {self.name!r} cannot be saved: {error}") from error
        storage.write_graph(graph, path)

    def __repr__(self) -> str:
        ports = ", ".join(f"{port.name}: {port.dtype}{list(port.shape)}" for port in self.inputs)
        return f"Network({self.name!r}, {ports})"


def compile_module(
    module: Callable[..., Any],
    input_shape: Any,
    dtype: Any = "float32",
    *,
    max_memory: int | None = None,
) -> Network:
    """Return a module as a network for inputs of a shape; the batch stays open.

    A layer or model is taken as it is now: what is changed in it later does not show.

    Parameters
    ----------
    module : callable
        A layer, a model, or any function over the functional API.
    input_shape : tuple of ints, or a sequence of such tuples
        With the batch.
    dtype : dtype
        Of the inputs.
    max_memory : int, optional
        As in `Network`.

    Raises
    ------
    ValueError, TypeError
        Where the module cannot take such inputs. A TypeError for a module of PyTorch's, which
        `fastconv.torch.convert` takes.
    """
    if not callable(module):
        raise TypeError(f"module must be a layer, a model or a function, not {shown(module)}")
    if _is_of_torch(module):
        raise TypeError(
            f"compile takes fastconv's layers and functions, but got PyTorch's "
            f"{type(module).__name__}; use fastconv.torch.convert(module, example_inputs)"
        )
    check_max_memory(max_memory)
    kind = dtype_of(dtype, "dtype")
    shapes = shapes_of(input_shape)
    module = copy.deepcopy(module) if hasattr(module, "state_dict") else module
    traced = trace(module, [(shape, kind) for shape in shapes])
    name = kind.name
    inputs = [
        Port(f"input{i}" if i else "input", ("batch", *shape[1:]), name)
        for i, shape in enumerate(traced.input_shapes)
    ]
    outputs = [
        Port(f"output{i}" if i else "output", ("batch", *shape[1:]), name)
        for i, shape in enumerate(traced.output_shapes)
    ]
    return Network(module, inputs, outputs, type(module).__name__, max_memory=max_memory)


def _is_of_torch(module: Any) -> bool:
    """Return whether a callable is a module of PyTorch's, which need not be installed."""
    return any(
        (kind.__module__, kind.__name__) == ("torch.nn.modules.module", "Module")
        for kind in type(module).__mro__
    )


@dataclasses.dataclass(frozen=True)
class GraphFunction:
    """A graph as a function of its inputs in order."""

    graph: Graph
    max_memory: int | None = None

    def __call__(self, *values: Any) -> Any:
        names = [port.name for port in self.graph.inputs]
        given = dict(zip(names, values, strict=True))
        results = self.graph.run(given, max_memory=self.max_memory)
        # A sequence is one value; a tuple is several.
        one = len(results) == 1 and not isinstance(results[0], (list, tuple))
        return results[0] if one else tuple(results)


def check_max_memory(max_memory: Any) -> None:
    """Refuse a ``max_memory`` that is not a number of bytes."""
    if max_memory is not None:
        integer(max_memory, "max_memory", least=0)


def _closed(port: Port) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else 1 for size in port.shape)


def _checked(value: Any, port: Port) -> Any:
    if port.kind:
        return value
    on_device = as_device_array(value)
    check_unmasked(value, f"input {port.name!r}")
    try:
        array: Any = np.asarray(value) if on_device is None else on_device
    except MemoryError as error:
        raise ValueError(f"input {port.name!r} must fit in memory: {error}") from None
    except Exception as error:  # whatever a foreign object's own conversion raises
        raise TypeError(f"input {port.name!r} must be an array: {error}") from None
    if port.dtype == "object" and array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype.name != port.dtype:
        raise TypeError(
            f"input {port.name!r} takes {port.dtype}, but got {array.dtype}; convert it with "
            f".astype({port.dtype!r})"
        )
    pairs = zip(array.shape, port.shape, strict=False)
    fits = port.any_rank or (
        len(array.shape) == len(port.shape)
        and all(given == size for given, size in pairs if isinstance(size, int))
    )
    if not fits:
        wanted = " x ".join("any" if not isinstance(s, int) else str(s) for s in port.shape)
        given_shape = " x ".join(map(str, array.shape))
        raise ValueError(f"input {port.name!r} takes shape {wanted}, but got {given_shape}")
    return array
