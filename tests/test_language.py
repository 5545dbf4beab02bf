"""Comments, docstrings, messages and documents are in plain English: the rules that text can tell.

Words are looked for in what people read, never in the names of code. A distance is free to be
"``step`` bytes apart", a symbol to "stand for" a value, a sentence to say that there is no file.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("fastconv", "csrc", "tests", "benchmarks", "examples")
SUFFIXES = {".py", ".pyi", ".c", ".h"}
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs")

# Comparisons with "no", which are usual.
_USUAL = (
    "longer|larger|smaller|slower|wider|better|worse|faster|more|less|fewer|such|other|one|matter"
)
_IS_NO = (rf"(?<!there )\b(?:is|are|was|were) no (?!(?:{_USUAL})\b)[a-z]", "not a, not")
_HANGS_ON = (r"\b(?:hangs?|hanging) on\b", "depends on")
_ANEW = (r"\banew\b", "again")
_KIN = (r"\bkin\b", "the noun")

# A pattern, and what to write instead; a blank matches a line break too.
FORBIDDEN = (
    _IS_NO,
    _HANGS_ON,
    _ANEW,
    _KIN,
    # But for the title of VGG's paper.
    (r"\bvery\b(?! deep convolutional)", "nothing, or a number"),
    (r"\bshall\b", "must, or the present tense"),
    (r"\bbeside\b", "next to, besides, in addition to"),
    (r"\b(?:told|tells?(?: them| it)?) apart\b", "distinguish"),
    (r"\bapart from (?:all|each|every|the)\b", "except, separate from"),
    (r"\b(?:nobody|whoever)\b", "the noun"),
    (r"\b(?:lies|lie)\b", "is, is stored"),
    (r"\b(?:stands|stood)\b(?! (?:for|in for)\b)", "is, exists"),
    (r"\b(?:the|a|this|every|large) cards?\b", "GPU"),
)
FORBIDDEN_IN_DOCUMENTS = (_IS_NO, _HANGS_ON, _ANEW, _KIN)
# How no docstring begins: "Return" and "Yield" are usual.
OPENINGS = r"[rR]?\"\"\"(?:Give|Tell|Say)\b"


def _python_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield strings and blocks of comments, each with its first line's number."""
    kinds = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    first, last, block = 0, -1, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            if line == last + 1:
                block += "\n" + token.string.lstrip("#")
            else:
                yield first, block
                first, block = line, token.string.lstrip("#")
            last = line
        elif token.type in kinds:
            yield line, token.string
    yield first, block


def _c_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield comments and strings, each with its first line's number."""
    for found in re.finditer(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', source, re.DOTALL):
        yield source.count("\n", 0, found.start()) + 1, found[0].replace("\n *", "\n")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield a file's texts for people, each with its first line's number."""
    source = path.read_text(encoding="utf-8")
    if path.suffix in (".c", ".h"):
        yield from _c_texts(source)
    elif path.suffix == ".md":
        yield 1, source
    else:
        yield from _python_texts(source)


def offences(text: str, rules: tuple[tuple[str, str], ...]) -> Iterator[tuple[int, str]]:
    """Yield the lines below the text's first on which a rule is broken, and what is wrong."""
    for pattern, instead in rules:
        spaced = pattern.replace(" ", r"\s")
        for found in re.finditer(spaced, text, re.IGNORECASE):
            words = " ".join(found[0].split())
            yield text.count("\n", 0, found.start()), f"{words!r}: write {instead}"
    if re.match(OPENINGS, text):
        yield 0, "a docstring begins with Give, Tell or Say: write Return or Yield"


def files(folders: tuple[str, ...], suffixes: set[str]) -> Iterator[Path]:
    """Yield the files below some folders, or these files themselves."""
    for name in folders:
        path = ROOT / name
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (f for f in found if f.suffix in suffixes and f != Path(__file__).resolve())


def report(paths: Iterator[Path], rules: tuple[tuple[str, str], ...]) -> list[str]:
    """Return each offence as file:line and what to write instead."""
    found = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        for line, text in texts(path):
            for below, words in offences(text, rules):
                found.append(f"{name}:{line + below}: {words}")
    return found


def test_code_texts_hold_language_rules() -> None:
    found = report(files(CODE, SUFFIXES), FORBIDDEN)
    assert not found, "\n" + "\n".join(found)


def test_documents_hold_language_rules() -> None:
    found = report(files(DOCUMENTS, {".md"}), FORBIDDEN_IN_DOCUMENTS)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "it hangs on\nthe batch", "packed anew", "a list is no key", "these are no\nsizes",
        "softmax and its kin", "a very large sum", "it shall end", "beside the weights",
        "told apart by name", "apart from every input", "Nobody waits", "whoever asks",
        "where it lies", "a word stands there", "copied to the card", '"""Give a sum."""',
        '"""Tell whether it is."""',
    ],
)  # fmt: skip
def test_text_breaking_a_rule_is_reported(text: str) -> None:
    assert list(offences(text, FORBIDDEN))


@pytest.mark.parametrize(
    "text",
    [
        "there is no file", "there are\nno sizes", "it is no longer open", "4 bytes apart",
        "-1 stands for nothing", "besides its sums", '"""Return a sum."""', "A wildcard",
    ],
)  # fmt: skip
def test_usual_text_is_not_reported(text: str) -> None:
    assert not list(offences(text, FORBIDDEN))


def test_names_of_code_are_not_read(tmp_path: Path) -> None:
    python, c = tmp_path / "a.py", tmp_path / "a.c"
    python.write_text('beside = anew(very)  # a\n# b\nlies = "c"\n')
    c.write_text('int64_t anew(int64_t kin); /* a\n * b */ call("c");\n')
    assert [text.split() for _, text in texts(python) if text] == [['"c"'], ["a", "b"]]
    assert [line for line, _ in texts(c)] == [1, 2]
