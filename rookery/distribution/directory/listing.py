"""Listings page by page, so that no reader is held while the caller thinks."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from rookery.distribution.directory import reads
from rookery.distribution.directory.rules import no_domain, refused
from rookery.distribution.directory.values import Domain
from rookery.storage.engine import Reader

T = TypeVar("T")

PAGE = 500  # rows of one read


class Directory(Protocol):
    """What is asked of it."""

    def read(self, read: Callable[[Reader], T]) -> T: ...

    def domain(self, name: str) -> Domain | None: ...


def domains(directory: Directory) -> Iterator[Domain]:
    after = ""
    while page := directory.read(lambda reader, after=after: reads.domains(reader, after, PAGE)):  # type: ignore[misc]
        yield from page
        after = page[-1].name


def numbers(directory: Directory, domain: str | None) -> Iterator[int]:
    """Of one domain or all. Raises RookeryError(NOT_FOUND)."""
    if domain is None:
        yield from (found.id for found in domains(directory))
    elif found := directory.domain(domain):
        yield found.id
    else:
        raise refused(no_domain(domain))


def pages(
    directory: Directory,
    domain: str | None,
    read: Callable[[Reader, int, str, int], list[T]],
    local: Callable[[T], str],
) -> Iterator[T]:
    """What `read` finds in one domain or all, in order of the local parts. Raises RookeryError(NOT_FOUND)."""
    for number in numbers(directory, domain):
        after = ""
        while page := directory.read(lambda reader, number=number, after=after: read(reader, number, after, PAGE)):  # type: ignore[misc]
            yield from page
            after = local(page[-1])
