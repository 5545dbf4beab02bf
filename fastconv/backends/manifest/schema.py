"""How argument blocks and kernels are declared: typed fields by name, and one row per kernel.

From a declaration come the C struct and the table of kernels (csrc/build.py), the accessors of
Numba's kernels (numba/engine/arguments.py) and the packer of plans, which is the class itself.
The build of the C extension imports this package by itself: it imports nothing but the standard
library and the rows of instruction sets.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from copy import copy
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from fastconv.backends.manifest.tiles import tiles_of
from fastconv.machine.instruction_sets import INSTRUCTION_SETS

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Return a decorator that does nothing: type checkers alone read it."""
        return lambda cls: cls


# What a field's annotation may be. Every word has 64 bits. An address is anything that plans know
# as one: a slot, a constant, packed weights, 0 for what is missing. A number is how many there are.
Address = Any
Int = int
Float = float
Address2 = Sequence[Any]
Int2 = Sequence[int]
Int3 = Sequence[int]
Int4 = Sequence[int]
Int5 = Sequence[int]
Int6 = Sequence[int]
Int18 = Sequence[int]
# As many addresses as there are, at the end of a block.
Rest = Sequence[Any]

_KIND = re.compile(r"(Address|Int|Float|Rest)(\d*)")


class Field(NamedTuple):
    """One field: its kind, how many words it has (0: any number), its first word's place."""

    name: str
    kind: str
    words: int
    place: int


@dataclass_transform(kw_only_default=True)
class Record:
    """Words of 64 bits by name: derive from it, with an annotation per field in their order.

    An instance is a sequence of the words, floats as their bits; missing and unknown fields are a
    TypeError. What is derived from a record begins with its fields. Constants that both C and
    Python read are attributes in capitals.
    """

    __slots__ = ("_words",)
    _fields: ClassVar[tuple[Field, ...]] = ()
    _pick: ClassVar[Any]
    # By their numbers: floats, and fields of several words, the last one first.
    _floats: ClassVar[tuple[int, ...]]
    _tables: ClassVar[tuple[tuple[int, Field], ...]]

    def __init_subclass__(cls) -> None:
        fields = list(cls._fields)
        for name, annotation in cls.__annotations__.items():
            found = _KIND.fullmatch(annotation)
            if found is None:
                raise TypeError(f"{cls.__name__}.{name} cannot be {annotation}")
            count = 0 if found[1] == "Rest" else int(found[2] or 1)
            place = fields[-1].place + fields[-1].words if fields else 0
            fields.append(Field(name, found[1], count, place))
        cls._fields = tuple(fields)
        cls._pick = itemgetter(*(field.name for field in fields)) if fields else dict.values
        cls._floats = tuple(i for i, f in enumerate(fields) if f.kind == "Float")
        cls._tables = tuple((i, f) for i, f in enumerate(fields) if f.words != 1)[::-1]

    def __init__(self, **values: Any) -> None:
        try:
            words = list(self._pick(values))
        except KeyError:
            words = []
        if len(words) != len(values):
            raise TypeError(_complaint(type(self), values))
        for number in self._floats:
            words[number] = float_bits(words[number])
        for number, field in self._tables:
            words[number : number + 1] = _words_of(field, words[number])
        self._words = tuple(words)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, place: int) -> Any:
        return self._words[place]

    def __getattr__(self, name: str) -> Any:
        for field in self._fields:
            if field.name == name:
                part = self._words[field.place : field.place + field.words]
                return part[0] if field.words == 1 else part
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")


def _complaint(record: type[Record], values: dict[str, Any]) -> str:
    names = {field.name for field in record._fields}
    missing, unknown = sorted(names - values.keys()), sorted(values.keys() - names)
    parts = [f"lacks {', '.join(missing)}"] * bool(missing)
    parts += [f"has no field {', '.join(unknown)}"] * bool(unknown)
    return f"{record.__name__} {' and '.join(parts)}"


def _words_of(field: Field, value: Any) -> Sequence[Any]:
    if field.kind == "Float":
        return [float_bits(value)]
    if field.words == 1:
        return [value]
    words = tuple(value)
    if field.words != 0 and len(words) != field.words:
        raise TypeError(f"{field.name} has {field.words} words, not {len(words)}")
    return words


R = TypeVar("R", bound=Record)


def replaced(record: R, **values: Any) -> R:
    """Return a record with other values of some fields."""
    words = list(record)
    known = {field.name: field for field in record._fields}
    if not values.keys() <= known.keys():
        raise TypeError(_complaint(type(record), dict.fromkeys(known) | values))
    for name, value in values.items():
        field = known[name]
        words[field.place : field.place + field.words] = _words_of(field, value)
    result = copy(record)
    result._words = tuple(words)
    return result


def fields_of(record: type[Record]) -> tuple[Field, ...]:
    """Return the fields of a record, in order."""
    return record._fields


def size_of(record: type[Record]) -> int:
    """Count the words of a record."""
    return sum(field.words for field in record._fields)


def base_of(record: type[Record]) -> type[Record] | None:
    """Return the record whose fields another one begins with."""
    base = record.__mro__[1]
    return base if issubclass(base, Record) and base._fields else None


def constants_of(record: type[Record]) -> dict[str, int]:
    """Return the constants of a record by name."""
    return {n: v for n, v in vars(record).items() if n.isupper() and isinstance(v, int)}


def struct_name(record: type[Record]) -> str:
    """Name a record in C."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", record.__name__).lower()
    return f"{name}_args" if issubclass(record, Args) else name


class Args(Record):
    """The argument block of a kernel."""


def float_bits(value: float) -> int:
    """Return the int64 with the bits of a float64: how a float travels in an argument block."""
    return int(_word.unpack(_double.pack(value))[0])


_double, _word = struct.Struct("<d"), struct.Struct("<q")


class Takes(NamedTuple):
    """One of a kernel's constants: which values there are kernels for in C."""

    what: str
    choices: tuple[Any, ...] = ()


def dtype(*names: str) -> Takes:
    """Return a constant that is an element type."""
    return Takes("dtype", names)


def tile(shapes: str = "") -> Takes:
    """Return a constant that is a register tile: of the shapes of that name, or of any."""
    return Takes("tile", (shapes,))


def kind(*names: str) -> Takes:
    """Return a constant that is one of some words."""
    return Takes("kind", names)


def kinds(*pairs: str) -> Takes:
    """Return two constants that are words, of which there are these pairs: "a b c" is a and b c."""
    return Takes("kinds", tuple(tuple(pair.split(maxsplit=1)) for pair in pairs))


FLAG = Takes("flag", (False, True))
FLOATS = ("float32", "float64")


# Instruction sets that extend no other, the widest last.
BASIC = tuple(name for name, row in INSTRUCTION_SETS.items() if row.extends is None)[::-1]


class Kernel(NamedTuple):
    """One kernel: what it is called by, what it takes, where it is written.

    ``numba`` is "module:function" in backends/numba, ``c`` a file in csrc; None: there is none. A
    header is compiled for every instruction set, a .c file once. ``takes`` are the constants that
    `Library.kernel` is called with, in order; those that it has after them are compiled into
    Numba's kernels alone: C reads the fields ``reads`` instead, one for each. ``isas`` are the
    instruction sets that C has it for: those that extend no other.
    """

    name: str
    args: type[Args]
    numba: str | None
    c: str | None
    takes: tuple[Takes, ...] = ()
    reads: tuple[str, ...] = ()
    isas: tuple[str, ...] = BASIC

    def dtypes(self) -> tuple[str, ...]:
        """Return the element types of the C kernels; none: the elements are not looked at."""
        for take in self.takes:
            if take.what == "dtype":
                return tuple(take.choices)
            if take.what == "tile":
                return FLOATS
        return ()

    def function(self, words: Sequence[str]) -> str:
        """Name the C function, without element type and instruction set."""
        return "_".join([self.name.replace(".", "_"), *words])

    def symbol(self, constants: Sequence[Any], isa: str) -> str | None:
        """Name the C kernel for some constants; None: there is none."""
        if self.c is None or isa not in self.isas:
            return None
        found = self._specialised(list(constants), isa)
        if found is None:
            return None
        words, dtype = found
        return symbol_of(self.function(words), dtype, isa if self.each_isa else None)

    def _specialised(self, constants: list[Any], isa: str) -> tuple[list[str], str | None] | None:
        words: list[str] = []
        dtype = None
        if len(constants) != sum(1 + (t.what == "kinds") for t in self.takes) + len(self.reads):
            return None
        for take in self.takes:
            given: list[Any] = [constants.pop(0) for _ in range(1 + (take.what == "kinds"))]
            if take.what == "tile":
                (shapes,) = take.choices
                shape = given[0].rows, given[0].vectors
                if shapes and shape not in tiles_of(isa).named(shapes):
                    return None
                words += [word_of(shape)] * bool(shapes)
                given = [given[0].dtype]
            if take.what in ("tile", "dtype"):
                (dtype,) = given
                if dtype not in self.dtypes():
                    return None
            elif (tuple(given) if take.what == "kinds" else given[0]) in take.choices:
                words += map(word_of, given)
            else:
                return None
        return words, dtype

    @property
    def each_isa(self) -> bool:
        """Whether C has it for each instruction set."""
        return self.c is not None and self.c.endswith(".h")

    def functions(self, isa: str) -> Iterator[tuple[str, str | None]]:
        """Yield all C functions at an instruction set, each with an element type or None."""
        every: list[list[str]] = [[]]
        for take in self.takes:
            more: list[list[str]]
            if take.what == "tile":
                (name,) = take.choices
                shapes = tiles_of(isa).named(name) if name else ()
                more = [[word_of(shape)] for shape in shapes] if name else [[]]
            elif take.what == "kinds":
                more = [list(map(word_of, pair)) for pair in take.choices]
            else:
                more = [[]] if take.what == "dtype" else [[word_of(c)] for c in take.choices]
            every = [[*words, *word] for words in every for word in more]
        for dtype in self.dtypes() or (None,):
            for words in every:
                yield self.function(words), dtype


def word_of(constant: Any) -> str:
    """Return a constant as a part of a kernel's name; of a tile's shape, rows and vectors."""
    if isinstance(constant, bool):
        return str(int(constant))
    if isinstance(constant, tuple):
        return "{}x{}".format(*constant)
    return str(constant).replace(" ", "_")


def symbol_of(function: str, dtype: str | None, isa: str | None) -> str:
    """Name a kernel in the extension's table."""
    return "_".join(word for word in (function, dtype, isa) if word is not None)


def records_of(kernels: Sequence[Kernel], others: Sequence[type[Record]]) -> list[type[Record]]:
    """Return all records that some kernels read, bases before what is derived from them."""
    found: dict[type[Record], None] = {}

    def add(record: type[Record] | None) -> None:
        if record is not None and record not in found:
            add(base_of(record))
            found[record] = None

    for record in (*others, *(kernel.args for kernel in kernels)):
        add(record)
    return list(found)


def digest_of(kernels: Sequence[Kernel], others: Sequence[type[Record]], *more: Any) -> str:
    """Return a checksum of declarations: of all that C was compiled for, and no text."""
    said = [(r.__name__, fields_of(r), constants_of(r)) for r in records_of(kernels, others)]
    rows = [(*kernel[:1], kernel.args.__name__, *kernel[3:]) for kernel in kernels]
    return f"{zlib.crc32(repr((said, rows, more)).encode()):08x}"
