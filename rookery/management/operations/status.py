"""How a node is: figures for people (`status`), and yes or no for machines (`health`, /healthz)."""

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from rookery.base.errors import RookeryError
from rookery.management.operations.check import check_tls
from rookery.management.operations.registry import operation

if TYPE_CHECKING:
    from rookery.distribution.spool.spool import Spool
    from rookery.management.parts import Parts
    from rookery.storage.engine import Transaction

WRITE_TIME = 0.6  # seconds within which a healthy store commits, and a pool hears of its backend


class QueueFigures(msgspec.Struct, frozen=True):
    """`recipients`: those that wait, in whatever state. `oldest`: when the oldest message came, seconds UTC,
    and `oldest_age` how many seconds ago; both 0 for an empty queue."""

    messages: int
    recipients: int
    states: dict[str, int]
    octets: int
    oldest: int
    oldest_age: int


class MemberFigures(msgspec.Struct, frozen=True):
    """Of a node of a cluster. `ends`: of its certificate there, seconds UTC. `links` with other nodes, `streams` on
    them. `heard`: seconds since a directory node told it last who was revoked; None while it is stopped."""

    node: str
    roles: list[str]
    ends: int
    links: int = 0
    streams: int = 0
    heard: float | None = None


class Status(msgspec.Struct, frozen=True):
    """`started`: seconds UTC, 0 on a stopped site. `connections`: by listener. `backend`: which one answered; this,
    `hosted` (accounts) and connections are of that one, the rest is of the whole site. What a node does not have, as a
    frontend has no accounts and no queue, is None."""

    version: str
    site: str
    backend: str
    hosted: int | None
    running: bool
    started: int
    domains: int | None
    accounts: int | None
    connections: dict[str, int]
    queue: QueueFigures | None
    member: MemberFigures | None = None


class Health(msgspec.Struct, frozen=True):
    """`problems` in plain words; none when `ok`. `warnings`: it serves, but somebody should see to it. `draining`: it
    takes no accounts, for it was told to.
    """

    ok: bool
    problems: list[str]
    warnings: list[str] = []
    draining: bool = False


async def queue_figures(parts: "Parts") -> QueueFigures:
    found = await parts.queue_control.counts()
    return QueueFigures(
        messages=found.messages,
        recipients=sum(found.recipients.values()),
        states=dict(found.recipients),
        octets=found.octets,
        oldest=found.oldest,
        oldest_age=max(0, int(parts.clock.wall()) - found.oldest) if found.oldest else 0,
    )


@operation("ping", running=True)
async def ping(parts: "Parts") -> str:
    """Which backend answers."""
    return parts.backend


@operation("status")
async def status(parts: "Parts") -> Status:
    from rookery import __version__

    running = parts.running
    domains, accounts = await parts.directory.find(lambda view: (sum(1 for _ in view.domains()), view.count_accounts()))
    return Status(
        version=__version__,
        site=str(parts.site.folder),
        backend=parts.backend,
        hosted=await hosted_here(parts),
        running=running is not None,
        started=int(running.started) if running else 0,
        domains=domains,
        accounts=accounts,
        connections=dict(running.connections()) if running else {},
        queue=await queue_figures(parts),
        member=running.member() if running else None,
    )


async def hosted_here(parts: "Parts") -> int:
    """Accounts: all of them in a static pool, which has one backend."""
    if parts.config.store.database:
        return len(parts.placement.hosted())
    return await parts.directory.find(lambda directory: directory.count_accounts())


@operation("health", running=True)
async def health(parts: "Parts") -> Health:
    """Whether the loop turns, store and spool commit, the pool knows that this backend lives, and the directory can be
    read, each within WRITE_TIME; warns of the certificate's end."""
    import asyncio  # here, because the command line imports this file too and should be quick

    found = await asyncio.gather(
        within("the store does not commit", parts.store.exclusive(_nothing)),
        within("the spool does not commit", parts.spool.writer.exclusive(_nothing)),
        within("its pool does not know that it lives", parts.placement.fresh()),
        within("the directory cannot be read", parts.directory.find(lambda directory: directory.last_change())),
    )
    problems = _by_reason(one for one in found if one is not None)
    if parts.store.upkeep.full:
        problems.append("the disk of the store is full")
    tls = await asyncio.to_thread(check_tls, parts.site, parts.config, parts.clock.wall())
    warnings = [str(problem) for problem in tls] + (
        [*parts.running.problems(), *parts.running.warnings()] if parts.running else []
    )
    return Health(not problems, problems, warnings, parts.placement.draining)


async def spool_problems(spool: "Spool") -> list[str]:
    """Of a node that has a queue and no more."""
    found = await within("the spool does not commit", spool.writer.exclusive(_nothing))
    return [] if found is None else [": ".join(found)]


async def within(problem: str, work: Awaitable[object]) -> tuple[str, str] | None:
    """The problem and its reason, if the work is not done in time; else nothing."""
    import asyncio

    try:
        async with asyncio.timeout(WRITE_TIME):
            await work
    except TimeoutError:
        return problem, f"no answer within {WRITE_TIME} s"
    except RookeryError as error:
        return problem, error.what or error.cause.value
    return None


def _by_reason(found: Iterable[tuple[str, str]]) -> list[str]:
    """What fails for the same reason, as all does when a database is away, is one problem."""
    failing: dict[str, list[str]] = {}
    for problem, reason in found:
        failing.setdefault(reason, []).append(problem)
    return [f"{', '.join(problems)}: {reason}" for reason, problems in failing.items()]


def all_healthy(found: Mapping[str, Health]) -> Health:
    """Of several backends by name: good when all are, and one takes accounts."""
    problems = [f"{name}: {problem}" for name, one in found.items() for problem in one.problems]
    warnings = list(dict.fromkeys(warning for one in found.values() for warning in one.warnings))
    draining = [name for name, one in found.items() if one.draining]
    if any(one.ok and not one.draining for one in found.values()):
        warnings += [f"{name}: it is being drained, until `rookery backend undrain {name}`" for name in draining]
    elif draining:
        named = " and ".join(draining)
        problems.append(f"nobody can log in: {named} are drained, until `rookery backend undrain`, and no other serves")
    return Health(not problems, problems, warnings)


def _nothing(tx: "Transaction") -> None:
    """A transaction that changes nothing: shows that the writer's turn comes and the database can be locked."""
