"""Domains and their other names."""

from typing import TYPE_CHECKING

import msgspec

from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.directory.directory import Directory
    from rookery.distribution.directory.values import Domain
    from rookery.management.parts import Parts


class DomainView(msgspec.Struct, frozen=True):
    """`aliases`: other names under which every address of the domain exists. `created`: seconds UTC. `pool`: where its
    new accounts are made, "" where the policy says. `local`: none of its accounts is elsewhere."""

    name: str
    aliases: list[str]
    accounts: int
    created: int
    pool: str
    local: bool = False


def _view(directory: "Directory", domain: "Domain") -> DomainView:
    pools = {pool.id: pool.name for pool in directory.pools()} if domain.pool else {}
    return DomainView(
        domain.name,
        list(domain.aliases),
        directory.count_accounts(domain.name),
        domain.created,
        pools.get(domain.pool, ""),
        domain.local,
    )


@operation("domain.add")
async def add_domain(parts: "Parts", name: str, pool: str = "", local: bool = False) -> DomainView:
    """`local`: all its accounts are in `pool`, "" for this node's own. Raises INVALID, EXISTS, NOT_FOUND (the pool)."""
    if local:
        made = await parts.pools.add_local(name, pool)
    else:
        if pool:
            parts.pools.need(pool)
        made = await parts.administration.add_domain(name)
        if pool:
            made = await parts.pools.assign_domain(name, pool)
    return await parts.directory.find(lambda directory: _view(directory, made))


@operation("domain.list")
async def list_domains(parts: "Parts") -> list[DomainView]:
    return await parts.directory.find(lambda directory: [_view(directory, domain) for domain in directory.domains()])


@operation("domain.show")
async def show_domain(parts: "Parts", name: str) -> DomainView:
    from rookery.distribution.directory.rules import no_domain, refused

    def look(directory: "Directory") -> DomainView:
        found = directory.domain(name)
        if found is None:
            raise refused(no_domain(name))
        return _view(directory, found)

    return await parts.directory.find(look)


@operation("domain.change")
async def change_domain(
    parts: "Parts",
    name: str,
    add_alias: list[str] | None = None,
    remove_alias: list[str] | None = None,
    pool: str | None = None,
    local: bool | None = None,
) -> DomainView:
    """Add and take away other names. `pool`: where accounts are made from now on, "" as the policy says. `local`: all
    its accounts are there, or no longer; IN_USE while one is elsewhere."""
    for alias in add_alias or ():
        await parts.administration.add_domain_alias(name, alias)
    for alias in remove_alias or ():
        await parts.administration.remove_domain_alias(name, alias)
    if local:
        await parts.pools.make_local(name, pool or (await show_domain(parts, name)).pool)
    elif local is not None:
        await parts.pools.share(name)
    if pool is not None and not local:
        await parts.pools.assign_domain(name, pool)
    return await show_domain(parts, name)


@operation("domain.rename")
async def rename_domain(parts: "Parts", name: str, new: str) -> DomainView:
    """Every address of the domain follows; mail and UIDs stay."""
    renamed = await parts.administration.rename_domain(name, new)
    return await parts.directory.find(lambda directory: _view(directory, renamed))


@operation("domain.remove")
async def remove_domain(parts: "Parts", name: str) -> None:
    """Only an empty one: raises IN_USE while accounts, aliases or groups are left, removed accounts included."""
    await parts.administration.remove_domain(name)
