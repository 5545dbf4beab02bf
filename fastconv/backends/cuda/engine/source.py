"""Loops that are written out before Numba sees a kernel.

What a thread keeps in registers is an array whose places must all be known when it is compiled.
LLVM does not reliably unroll the loops over it, so they are unrolled in the source:

    for i in unroll(4):
        total[i] = zero

becomes four statements. Flags and comparisons of constants, which have upper-case names, are
decided there too. In the simulator `unroll` is `range`, and the source is run as it is.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

# What kernels write for a loop that is unrolled.
unroll = range


def unrolled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel's function with its loops over `unroll` written out.

    Their bounds depend on constants alone: numbers, and names from around the function.

    Raises
    ------
    ValueError
        For a loop whose bounds or variable are something else.
    """
    lines, _ = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    around = inspect.getclosurevars(function).nonlocals
    scope = {**function.__globals__, **around}
    _Constants(scope).visit(definition)
    _Unroller(scope).visit(definition)
    ast.fix_missing_locations(tree)
    names: dict[str, Any] = dict(scope)
    exec(compile(tree, f"<unrolled {function.__qualname__}>", "exec"), names)
    made: Callable[..., Any] = names[definition.name]
    made.__module__, made.__qualname__ = function.__module__, definition.name
    made.__unrolled_source__ = ast.unparse(tree)  # type: ignore[attr-defined]
    return made


class _Constants(ast.NodeTransformer):
    """Puts numbers in place of the constants' names, so that places in arrays are numbers too."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self._scope = scope

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self._scope.get(node.id)
        if not node.id.isupper() or type(value) is not int or not isinstance(node.ctx, ast.Load):
            return node
        return ast.copy_location(ast.Constant(value), node)


class _Unroller(ast.NodeTransformer):
    def __init__(self, scope: dict[str, Any]) -> None:
        self._scope = scope

    def visit_For(self, node: ast.For) -> Any:
        called = node.iter.func if isinstance(node.iter, ast.Call) else None
        if not isinstance(called, ast.Name) or called.id != "unroll":
            return self.generic_visit(node)
        assert isinstance(node.iter, ast.Call)
        if not isinstance(node.target, ast.Name) or node.orelse or node.iter.keywords:
            raise ValueError(f"line {node.lineno}: a loop over unroll() has one plain variable")
        bounds = [self._constant(bound) for bound in node.iter.args]
        written: list[Any] = []
        for value in range(*bounds):
            for statement in node.body:
                own = _Folder(node.target.id, value).visit(copy.deepcopy(statement))
                result = self.visit(own)
                written.extend(result if isinstance(result, list) else [result])
        return written

    def visit_If(self, node: ast.If) -> Any:
        """Leave out what a constant flag from around the function decides against."""
        known = self._known(node.test)
        if known is not None:
            taken = node.body if known else node.orelse
            written: list[Any] = []
            for statement in taken:
                result = self.visit(statement)
                written.extend(result if isinstance(result, list) else [result])
            return written
        return self.generic_visit(node)

    def _known(self, test: ast.expr) -> bool | None:
        """Return the value of a flag, or of a comparison of constants; None: it is not constant."""
        if isinstance(test, ast.Name):
            flag = self._scope.get(test.id)
            return flag if type(flag) is bool else None
        names = [node for node in ast.walk(test) if isinstance(node, (ast.Name, ast.Call))]
        constant = all(
            isinstance(node, ast.Name) and node.id.isupper() and node.id in self._scope
            for node in names
        )
        if not isinstance(test, ast.Compare) or not constant:
            return None
        return bool(self._constant(test))

    def _constant(self, bound: ast.expr) -> int:
        try:
            whole = ast.fix_missing_locations(ast.Expression(bound))
            return int(eval(compile(whole, "", "eval"), self._scope))
        except Exception as error:
            text = ast.unparse(bound)
            raise ValueError(f"unroll({text}): its bounds must be constants ({error})") from error


class _Folder(ast.NodeTransformer):
    """Puts a number in place of a variable, and works out what then is constant."""

    def __init__(self, name: str, value: int) -> None:
        self._name, self._value = name, value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id != self._name:
            return node
        if not isinstance(node.ctx, ast.Load):
            raise ValueError(f"line {node.lineno}: the variable {node.id} of unroll() is assigned")
        return ast.copy_location(ast.Constant(self._value), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        sides = (node.left, node.right)
        if all(isinstance(side, ast.Constant) and type(side.value) is int for side in sides):
            whole = ast.fix_missing_locations(ast.Expression(copy.deepcopy(node)))
            return ast.copy_location(ast.Constant(eval(compile(whole, "", "eval"))), node)
        return node
