"""Aliases and groups: addresses that stand for others, anywhere."""

from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import Cause, RookeryError
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.directory.values import Alias, Group
    from rookery.management.parts import Parts


class AliasView(msgspec.Struct, frozen=True):
    address: str
    targets: list[str]
    created: int


class GroupView(msgspec.Struct, frozen=True):
    address: str
    name: str
    members: list[str]
    created: int


def _alias(alias: "Alias") -> AliasView:
    return AliasView(alias.address, list(alias.targets), alias.created)


def _group(group: "Group") -> GroupView:
    return GroupView(group.address, group.name, list(group.members), group.created)


# --- aliases ---------------------------------------------------------------------------------------------------------


@operation("alias.add")
async def add_alias(parts: "Parts", address: str, targets: list[str]) -> AliasView:
    """Raises INVALID, EXISTS, CONFLICT (it would lead back to itself), TOO_MANY."""
    return _alias(await parts.administration.add_alias(address, targets))


@operation("alias.list")
async def list_aliases(parts: "Parts", domain: str | None = None) -> list[AliasView]:
    return await parts.directory.find(lambda directory: [_alias(alias) for alias in directory.aliases(domain)])


@operation("alias.show")
async def show_alias(parts: "Parts", address: str) -> AliasView:
    found = await parts.directory.find(lambda directory: directory.alias(address))
    if found is None:
        raise RookeryError(Cause.NOT_FOUND, f"there is no alias {address[:320]}; see `rookery alias list`")
    return _alias(found)


@operation("alias.change")
async def change_alias(parts: "Parts", address: str, targets: list[str]) -> AliasView:
    """`targets` replaces all there were."""
    return _alias(await parts.administration.change_alias(address, targets))


@operation("alias.rename")
async def rename_alias(parts: "Parts", address: str, new: str) -> AliasView:
    return _alias(await parts.administration.rename_alias(address, new))


@operation("alias.remove")
async def remove_alias(parts: "Parts", address: str) -> None:
    await parts.administration.remove_alias(address)


# --- groups ----------------------------------------------------------------------------------------------------------


@operation("group.add")
async def add_group(parts: "Parts", address: str, members: list[str], name: str = "") -> GroupView:
    return _group(await parts.administration.add_group(address, members, name))


@operation("group.list")
async def list_groups(parts: "Parts", domain: str | None = None) -> list[GroupView]:
    return await parts.directory.find(lambda directory: [_group(group) for group in directory.groups(domain)])


@operation("group.show")
async def show_group(parts: "Parts", address: str) -> GroupView:
    found = await parts.directory.find(lambda directory: directory.group(address))
    if found is None:
        raise RookeryError(Cause.NOT_FOUND, f"there is no group {address[:320]}; see `rookery group list`")
    return _group(found)


@operation("group.change")
async def change_group(
    parts: "Parts", address: str, name: str | None = None, add: list[str] | None = None, remove: list[str] | None = None
) -> GroupView:
    """None leaves as it is; `remove` happens after `add`."""
    return _group(await parts.administration.change_group(address, name=name, add=add or (), remove=remove or ()))


@operation("group.rename")
async def rename_group(parts: "Parts", address: str, new: str) -> GroupView:
    return _group(await parts.administration.rename_group(address, new))


@operation("group.remove")
async def remove_group(parts: "Parts", address: str) -> None:
    await parts.administration.remove_group(address)
