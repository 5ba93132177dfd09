"""The table of operations: name -> function, with the types of its arguments and result taken from the function itself.

So the control socket can decode a request into exactly what the function wants, and refuse everything else by name.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import msgspec

from rookery.base.errors import Cause, RookeryError

if TYPE_CHECKING:
    from rookery.management.parts import Parts

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Operation:
    """`arguments` is a Struct type with one field a parameter; `running` ones make sense on a running node only."""

    name: str
    run: Callable[..., Awaitable[Any]]
    arguments: type[msgspec.Struct]
    result: Any
    running: bool


_BY_NAME: dict[str, Operation] = {}
_BY_FUNCTION: dict[object, Operation] = {}


def operation(
    name: str, *, running: bool = False
) -> Callable[[Callable[Concatenate["Parts", P], Awaitable[R]]], Callable[Concatenate["Parts", P], Awaitable[R]]]:
    """Enter a function into the table. Its annotations must be real types, the first parameter's apart."""

    def enter(
        function: Callable[Concatenate["Parts", P], Awaitable[R]],
    ) -> Callable[Concatenate["Parts", P], Awaitable[R]]:
        signature = inspect.signature(function)
        fields: list[Any] = []
        for parameter in list(signature.parameters.values())[1:]:
            if parameter.default is inspect.Parameter.empty:
                fields.append((parameter.name, parameter.annotation))
            else:
                fields.append((parameter.name, parameter.annotation, parameter.default))
        arguments = msgspec.defstruct(name, fields, forbid_unknown_fields=True, kw_only=True)
        made = Operation(name, function, arguments, signature.return_annotation, running)
        _BY_NAME[name] = _BY_FUNCTION[function] = made
        return function

    return enter


def by_name(name: str) -> Operation:
    """Raises RookeryError when there is none."""
    found = _BY_NAME.get(name)
    if found is None:
        raise RookeryError(Cause.UNSUPPORTED, f"no operation is called {name[:80]!r}")
    return found


def by_function(function: Callable[..., Awaitable[object]]) -> Operation:
    """Raises KeyError for a function that was not entered."""
    return _BY_FUNCTION[function]


def names() -> list[str]:
    return sorted(_BY_NAME)


def load_all() -> None:
    """Enter every operation there is: for whoever serves them by name."""
    from rookery.management.operations import (  # noqa: F401
        accounts,
        aliases,
        authority,
        backends,
        cluster,
        cluster_status,
        directory,
        domains,
        logs,
        pools,
        queue,
        snapshot,
        status,
        trace,
        verify,
    )
