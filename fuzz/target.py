"""What a target is. It takes any octets, and raises when something that must hold does not."""

from collections.abc import Callable
from typing import NamedTuple


class Target(NamedTuple):
    """`seeds` are good inputs to start from, `words` what the grammar is made of."""

    name: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = ()
    words: tuple[bytes, ...] = ()


def require(held: bool, what: str) -> None:
    """An assertion that no optimisation takes away."""
    if not held:
        raise AssertionError(what)
