"""Builds the queue of a node: delivery to our own mailboxes by LMTP over streams in memory, to others by SMTP."""

import asyncio
import random
from functools import partial
from pathlib import Path

import dns.exception

from rookery.access.conversation import SmtpSettings
from rookery.access.lmtp import serve_lmtp
from rookery.base.clock import Clock
from rookery.base.config import Config
from rookery.base.errors import Cause, RookeryError
from rookery.base.log import logger
from rookery.distribution.delivery.hosted import Delivery, HostedDelivery
from rookery.distribution.delivery.hosts import SUBMISSIONS_PORT, Hosts, HostSettings, Smarthost
from rookery.distribution.delivery.local import LocalDelivery, LocalSettings
from rookery.distribution.delivery.remote import RemoteDelivery, RemoteSettings
from rookery.distribution.directory.directory import Directory
from rookery.distribution.placement.pools import Hosts as Hosting
from rookery.distribution.queue.notices import NoticeSettings
from rookery.distribution.queue.queue import Forget, Queue, QueueSettings
from rookery.distribution.queue.schedule import Schedule
from rookery.distribution.spool.spool import Spool
from rookery.management.operations.check import ports
from rookery.management.site import Site
from rookery.management.ways import Ways
from rookery.net.dial import dial
from rookery.net.memory import memory_pipe
from rookery.net.resolver import DnsResolver, NameServer, read_name_server
from rookery.net.stream import Stream
from rookery.net.tls import client_context
from rookery.storage.store import Store

_log = logger("node")


def smtp_settings(config: Config) -> SmtpSettings:
    return SmtpSettings(
        hostname=config.site.hostname,
        message_size=config.smtp.message_size,
        recipients=config.smtp.recipients,
        hops=config.smtp.hops,
        idle=config.smtp.idle,
        before_login=config.imap.idle_before_login,
    )


def delivery_settings(config: Config) -> SmtpSettings:
    """What a queue of ours holds was accepted already: no limit of the network applies."""
    return SmtpSettings(
        hostname=config.site.hostname,
        message_size=1 << 40,
        recipients=1 << 20,
        refused_recipients=1 << 20,
        idle=0.0,
    )


def queue_settings(config: Config) -> QueueSettings:
    home = config.site.own_domain or config.site.domain
    return QueueSettings(
        notices=NoticeSettings(config.site.hostname, f"postmaster@{home}".rstrip("@")),
        schedule=Schedule(lifetime=config.queue.lifetime, retry=config.queue.retry),
        hops=config.smtp.hops,
    )


class LocalDialer:
    """Opens LMTP streams to this node's own store; the other end of each is served by a task of its own."""

    def __init__(self, store: Store, directory: Directory, config: Config, clock: Clock, hosts: Hosting) -> None:
        self._serve = partial(
            serve_lmtp,
            store=store,
            directory=directory,
            settings=delivery_settings(config),
            clock=clock,
            hosts=hosts,
            trusted=True,
        )
        self._sessions: set[asyncio.Task[None]] = set()

    async def __call__(self) -> Stream:
        near, far = memory_pipe()
        task = asyncio.get_running_loop().create_task(self._serve(far))
        self._sessions.add(task)
        task.add_done_callback(self._ended)
        return near

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sessions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session-failed", listener="delivery", error=f"{type(error).__name__}: {error}")


def build_queue(
    site: Site,
    config: Config,
    store: Store,
    directory: Directory,
    spool: Spool,
    clock: Clock,
    forget: Forget,
    hosts: Hosting,
    ways: Ways,
) -> Queue:
    """A queue that is not started yet. `forget`: where it says which delivery ids will not come again. `ways`: to other
    backends.
    """
    dice = random.Random()
    hostname = config.site.hostname
    local: Delivery = LocalDelivery(LocalDialer(store, directory, config, clock, hosts), LocalSettings(hostname))
    if config.store.database or directory.shared:
        local = HostedDelivery(hosts, directory, local, ways.to)
    return Queue(
        spool,
        local,
        remote(site, config, clock, dice),
        directory,
        clock=clock,
        dice=dice,
        settings=queue_settings(config),
        forget=forget,
    )


def remote(site: Site, config: Config, clock: Clock, dice: random.Random) -> RemoteDelivery:
    """To other sites. Raises RookeryError when the password of the smarthost cannot be read."""
    hostname, queue = config.site.hostname, config.queue
    outside = HostSettings(
        hostname,
        own_names=frozenset({hostname}),
        own_ports=frozenset(ports(config).values()),
        smarthost=smarthost(site, config),
        tls=client_context(),
        verified_tls=client_context(verify=True) if queue.smarthost is not None else None,
    )
    return RemoteDelivery(
        Hosts(outside, _resolver(config), dial, dice), clock, dice, RemoteSettings(connections=queue.deliveries)
    )


def smarthost(site: Site, config: Config) -> Smarthost | None:
    """As the settings say. Raises RookeryError when its password cannot be read."""
    endpoint = config.queue.smarthost
    if endpoint is None:
        return None
    password = ""
    if config.queue.smarthost_login:
        password = read_secret(site.path(config.queue.smarthost_password_file))
    return Smarthost(
        endpoint.host,
        endpoint.port,
        config.queue.smarthost_login,
        password,
        implicit_tls=endpoint.port == SUBMISSIONS_PORT,
    )


def read_secret(path: Path) -> str:
    """The first line of a file; raises RookeryError naming it."""
    try:
        return path.read_text(encoding="utf-8").split("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise RookeryError(Cause.INVALID, f"queue.smarthost_password_file: {path} cannot be read: {error}") from error


def _resolver(config: Config) -> DnsResolver:
    servers = [read_name_server(text) for text in config.queue.resolver]
    try:
        return DnsResolver(servers)
    except dns.exception.DNSException as error:
        _log.warning("no-resolver", what=f"this machine names no DNS server ({error}); queue.resolver can")
        return DnsResolver([NameServer("127.0.0.1")])
