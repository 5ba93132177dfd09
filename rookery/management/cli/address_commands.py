"""domain, alias, group: which addresses there are, besides accounts."""

from typing import Annotated

import typer

from rookery.management.cli.main import Context
from rookery.management.cli.output import moment, need_any, pairs, table, write, write_json
from rookery.management.client import Client
from rookery.management.operations import aliases, domains
from rookery.management.operations.aliases import AliasView, GroupView
from rookery.management.operations.domains import DomainView

domain = typer.Typer(help="Domains that mail is kept for.", no_args_is_help=True)
alias = typer.Typer(help="Addresses that stand for others.", no_args_is_help=True)
group = typer.Typer(help="Addresses for people who belong together.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as example.test.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS")]
New = Annotated[str, typer.Argument(metavar="NEW")]
Targets = Annotated[list[str], typer.Argument(metavar="TARGET...", help="Addresses, here or anywhere.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def _client(context: typer.Context) -> Client:
    given: Context = context.obj
    return Client(given.site_folder())


# --- domain ----------------------------------------------------------------------------------------------------------


def _write_domain(view: DomainView, json: bool) -> None:
    if json:
        write_json(view)
    else:
        other = ", ".join(view.aliases) or "none"
        facts = [("name", view.name), ("other names", other), ("accounts", str(view.accounts))]
        where = f"in pool {view.pool}" if view.pool else "as directory.placement says"
        facts.append(("all accounts" if view.local else "new accounts", where))
        pairs([*facts, ("created", moment(view.created))])


@domain.command("add")
def domain_add(
    context: typer.Context,
    name: Name,
    local: Annotated[bool, typer.Option("--local", help="All its accounts are in one pool, and stay there.")] = False,
    pool: Annotated[
        str, typer.Option("--pool", metavar="NAME", help="For its accounts; local: else this node's.")
    ] = "",
    json: Json = False,
) -> None:
    """Keep mail for another domain."""
    _write_domain(_client(context).call(domains.add_domain, name, pool, local), json)


@domain.command("list")
def domain_list(context: typer.Context, json: Json = False) -> None:
    """List domains."""
    rows = _client(context).call(domains.list_domains)
    if json:
        write_json(rows)
    else:
        cells = [(row.name, str(row.accounts), row.pool if row.local else "", ", ".join(row.aliases)) for row in rows]
        table(("domain", "accounts", "local to pool", "other names"), cells, "No domains.")


@domain.command("show")
def domain_show(context: typer.Context, name: Name, json: Json = False) -> None:
    """Show one domain."""
    _write_domain(_client(context).call(domains.show_domain, name), json)


@domain.command("change")
def domain_change(
    context: typer.Context,
    name: Name,
    add_alias: Annotated[list[str] | None, typer.Option("--add-alias", help="Another name, repeatable.")] = None,
    remove_alias: Annotated[list[str] | None, typer.Option("--remove-alias", help="Not that name any more.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", metavar="NAME", help="Make new accounts there.")] = None,
    no_pool: Annotated[bool, typer.Option("--no-pool", help="Make them where directory.placement says.")] = False,
    local: Annotated[
        bool | None, typer.Option("--local/--shared", help="All its accounts are in its pool and stay, or not so.")
    ] = None,
    json: Json = False,
) -> None:
    """Give a domain other names, under which every address of it exists too, or a pool for its new accounts."""
    if no_pool:
        pool = ""
    words = "--add-alias, --remove-alias, --pool, --no-pool, --local or --shared"
    need_any(words, add_alias, remove_alias, pool, local)
    call = _client(context).call(
        domains.change_domain, name, add_alias=add_alias, remove_alias=remove_alias, pool=pool, local=local
    )
    _write_domain(call, json)


@domain.command("rename")
def domain_rename(context: typer.Context, name: Name, new: New, json: Json = False) -> None:
    """Rename a domain and every address in it; mail and UIDs stay."""
    _write_domain(_client(context).call(domains.rename_domain, name, new), json)


@domain.command("remove")
def domain_remove(context: typer.Context, name: Name) -> None:
    """Remove a domain that has nothing in it any more."""
    _client(context).call(domains.remove_domain, name)
    write(f"{name} is removed.")


# --- alias -----------------------------------------------------------------------------------------------------------


def _write_alias(view: AliasView, json: bool) -> None:
    if json:
        write_json(view)
    else:
        pairs([("address", view.address), ("stands for", ", ".join(view.targets)), ("created", moment(view.created))])


@alias.command("add")
def alias_add(context: typer.Context, address: Address, targets: Targets, json: Json = False) -> None:
    """Add an address that stands for others."""
    _write_alias(_client(context).call(aliases.add_alias, address, targets), json)


@alias.command("list")
def alias_list(
    context: typer.Context, name: Annotated[str | None, typer.Argument(metavar="DOMAIN")] = None, json: Json = False
) -> None:
    """List aliases."""
    rows = _client(context).call(aliases.list_aliases, name)
    if json:
        write_json(rows)
    else:
        table(("alias", "stands for"), [(row.address, ", ".join(row.targets)) for row in rows], "No aliases.")


@alias.command("show")
def alias_show(context: typer.Context, address: Address, json: Json = False) -> None:
    """Show one alias."""
    _write_alias(_client(context).call(aliases.show_alias, address), json)


@alias.command("change")
def alias_change(context: typer.Context, address: Address, targets: Targets, json: Json = False) -> None:
    """Let an alias stand for these instead."""
    _write_alias(_client(context).call(aliases.change_alias, address, targets), json)


@alias.command("rename")
def alias_rename(context: typer.Context, address: Address, new: New, json: Json = False) -> None:
    """Give an alias another address."""
    _write_alias(_client(context).call(aliases.rename_alias, address, new), json)


@alias.command("remove")
def alias_remove(context: typer.Context, address: Address) -> None:
    """Remove an alias."""
    _client(context).call(aliases.remove_alias, address)
    write(f"{address} is removed.")


# --- group -----------------------------------------------------------------------------------------------------------


def _write_group(view: GroupView, json: bool) -> None:
    if json:
        write_json(view)
    else:
        facts = [("address", view.address), ("name", view.name or "-"), ("members", ", ".join(view.members) or "none")]
        pairs([*facts, ("created", moment(view.created))])


@group.command("add")
def group_add(
    context: typer.Context,
    address: Address,
    members: Annotated[list[str] | None, typer.Argument(metavar="MEMBER...", help="Addresses, anywhere.")] = None,
    name: Annotated[str, typer.Option("--name", help="What it is called.")] = "",
    json: Json = False,
) -> None:
    """Add a group."""
    _write_group(_client(context).call(aliases.add_group, address, members or [], name=name), json)


@group.command("list")
def group_list(
    context: typer.Context, name: Annotated[str | None, typer.Argument(metavar="DOMAIN")] = None, json: Json = False
) -> None:
    """List groups."""
    rows = _client(context).call(aliases.list_groups, name)
    if json:
        write_json(rows)
    else:
        cells = [(row.address, row.name, str(len(row.members))) for row in rows]
        table(("group", "name", "members"), cells, "No groups.")


@group.command("show")
def group_show(context: typer.Context, address: Address, json: Json = False) -> None:
    """Show one group and its members."""
    _write_group(_client(context).call(aliases.show_group, address), json)


@group.command("change")
def group_change(
    context: typer.Context,
    address: Address,
    add: Annotated[list[str] | None, typer.Option("--add", metavar="MEMBER", help="Repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="MEMBER", help="Repeatable.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What it is called.")] = None,
    json: Json = False,
) -> None:
    """Add and remove members, or change its name."""
    need_any("--add, --remove or --name", add, remove, name)
    call = _client(context).call(aliases.change_group, address, name=name, add=add, remove=remove)
    _write_group(call, json)


@group.command("rename")
def group_rename(context: typer.Context, address: Address, new: New, json: Json = False) -> None:
    """Give a group another address."""
    _write_group(_client(context).call(aliases.rename_group, address, new), json)


@group.command("remove")
def group_remove(context: typer.Context, address: Address) -> None:
    """Remove a group; its members stay."""
    _client(context).call(aliases.remove_group, address)
    write(f"{address} is removed.")


def enter(app: typer.Typer) -> None:
    for family, name in ((domain, "domain"), (alias, "alias"), (group, "group")):
        app.add_typer(family, name=name)
