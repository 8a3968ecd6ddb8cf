"""What the tests' import hook does to every function of the package: types checked by beartype, shapes by jaxtyping.

jaxtyping's own decorator checks each call twice, also where no array is annotated, which takes three quarters of the time
of a small model. Here one wrapper checks arguments and value together, in the first calls of a function in each test and
in a part of those that follow.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype

FIRST, LATER = 16, 17  # calls of a function in one test: all of the first, then each of so many
_jaxtyped = jaxtyping.jaxtyped
_calls: dict[Any, int] = {}


def install_type_checks() -> None:
    """Check everything in the package that is imported from now on."""
    jaxtyping.jaxtyped = functools.partial(
        functools.partial, checked
    )  # the hook writes @jaxtyping.jaxtyped(...)
    jaxtyping.install_import_hook("mambascope", "beartype.beartype")


def count_anew() -> None:
    """Let the next call of each function be its first."""
    _calls.clear()


def checked(decorated: Any, *, typechecker: Any) -> Any:
    """A function with its types and shapes checked, or a dataclass with those of its fields; all else is left to jaxtyping."""
    if dataclasses.is_dataclass(decorated):
        if isinstance(decorated.__dict__.get("__init__"), types.FunctionType):
            decorated.__init__ = checked(decorated.__init__, typechecker=typechecker)
        return decorated
    if not isinstance(decorated, types.FunctionType) or inspect.isgeneratorfunction(decorated):
        return _jaxtyped(decorated, typechecker=typechecker)
    if not decorated.__annotations__:
        return decorated
    hints = {name: _resolved(hint, decorated) for name, hint in decorated.__annotations__.items()}
    strict = beartype(_annotated(decorated, hints))
    if any(map(_names_arrays, hints.values())):
        strict = _with_axes(strict)
    return functools.update_wrapper(_now_and_then(strict, decorated), decorated)


def _resolved(hint: Any, function: types.FunctionType) -> Any:
    """What an annotation stands for, or Any if it names what is imported for type checkers only."""
    holder = types.SimpleNamespace(__annotations__={"hint": hint})
    try:
        return typing.get_type_hints(holder, function.__globals__, include_extras=True)["hint"]
    except NameError:
        return Any


def _annotated(function: types.FunctionType, hints: dict[str, Any]) -> Callable[..., Any]:
    """A function of the same code, so that the annotations of the first stay as they are written."""
    code, closure = function.__code__, function.__closure__
    copy = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, closure
    )
    copy.__kwdefaults__, copy.__annotations__ = function.__kwdefaults__, hints
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _names_arrays(hint: Any) -> bool:
    """True if an annotation is, or holds, an array with named axes."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_names_arrays, typing.get_args(hint)))


def _with_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with an axis of the same size wherever its name stands in the same call."""

    def wrapped(*given: Any, **named: Any) -> Any:
        with _jaxtyped("context"):
            return function(*given, **named)

    return wrapped


def _now_and_then(strict: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """The first function, or the second where this call is not to be checked."""

    def counted(*given: Any, **named: Any) -> Any:
        number = _calls[plain] = _calls.get(plain, 0) + 1
        if number <= FIRST or number % LATER == 0:
            return strict(*given, **named)
        return plain(*given, **named)

    return counted
