"""Static pools behind frontends, without PostgreSQL: processes on loopback addresses of their own, whose links between
each other go through relays.

n1 has the authority, the directory's primary and the pool `main`; n2 the pool `south`, and of the directory what that
needs; d1 a copy of the directory and nothing else. f1 and f2 are frontends.
"""

import imaplib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.journeys.relays import Relays
from tests.journeys.site import RunningSite
from tests.journeys.waiting import wait_until

NODES = {"n1": "127.0.8.1", "n2": "127.0.8.2", "d1": "127.0.8.3", "f1": "127.0.8.4", "f2": "127.0.8.5"}
DIALLED = {"n1": "127.0.8.101", "n2": "127.0.8.102", "d1": "127.0.8.103"}  # where the others dial
DOMAIN = "example.test"


class StaticCluster:
    """`users`: by name, their pool."""

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        self.sites = {name: RunningSite(folder / name, hostname=f"{name}.{DOMAIN}") for name in NODES}
        n1 = self.sites["n1"]
        for site in self.sites.values():
            site.offset, site.ports = n1.offset, n1.ports
        self.port = n1.ports["cluster"]
        self.relays = Relays(NODES)
        for name, at in DIALLED.items():
            self.relays.before(name, (at, self.port), (NODES[name], self.port))
        try:
            self._make(users)
        except BaseException:
            self.close()
            raise

    def _make(self, users: dict[str, str]) -> None:
        n1 = self.sites["n1"]
        n1.init()
        n1.configure(listen__addresses=f'["{NODES["n1"]}"]')
        n1.rookery("cluster", "init")
        self._serve("n1")
        directory = ["--directory", f"{DIALLED['n1']}:{self.port}"]
        both = [*directory, "--directory", f"{DIALLED['d1']}:{self.port}"]
        self._join("d1", ["directory"], [*directory, "--directory-copy"])
        self._join("n2", ["backend"], [*directory, "--domain", DOMAIN, "--pool", "south"])
        self._join("f1", ["frontend"], both)
        self._join("f2", ["frontend"], both)
        for name, pool in users.items():
            n1.add_account(name, None, "--pool", pool)
        self.passwords = n1.passwords

    def _join(self, name: str, roles: list[str], words: list[str]) -> None:
        site, desk = self.sites[name], f"{NODES['n1']}:{self.sites['n1'].ports['join']}"
        said = [word for role in roles for word in ("--role", role)]
        token = self.sites["n1"].rookery("node", "add", name, *said, "--address", desk).stdout.strip()
        here = ["--hostname", site.hostname, "--listen", NODES[name], "--port-offset", str(site.offset)]
        site.rookery("node", "join", token, *words, *here)
        self._serve(name)

    def _serve(self, name: str) -> None:
        settings = {"http__address": NODES[name], "cluster__local": NODES[name]}
        if name in DIALLED:
            settings["cluster__announce"] = f"{DIALLED[name]}:{self.port}"
        self.sites[name].configure(**{key: f'"{value}"' for key, value in settings.items()})
        self.sites[name].start()

    # --- clients ---

    def login(self, user: str, at: str = "f1") -> imaplib.IMAP4:
        client = imaplib.IMAP4(NODES[at], self.sites[at].ports["imap"], 30)
        try:
            client.login(f"{user}@{DOMAIN}", self.passwords[f"{user}@{DOMAIN}"])
        except BaseException:
            client.shutdown()
            raise
        return client

    def serves(self, user: str, at: str = "f1") -> bool:
        """False: not now. A wrong answer is never put up with."""
        try:
            self.login(user, at).logout()
        except (imaplib.IMAP4.abort, OSError):
            return False
        except imaplib.IMAP4.error as error:
            if "UNAVAILABLE" not in str(error):
                raise
            return False
        return True

    def wait_until_steady(self, *users: str) -> None:
        for at in ("f1", "f2"):
            for user in users:
                wait_until(lambda user=user, at=at: self.serves(user, at), f"{user} by {at}")  # type: ignore[misc]

    # --- processes ---

    def start(self) -> None:
        """Those that do not run, the ones first that need others, all without waiting for each other."""
        missing = [site for site in reversed(self.sites.values()) if site.process is None]
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(RunningSite.start, missing))

    def kill(self) -> None:
        for site in self.sites.values():
            site.kill()

    def close(self) -> None:
        self.kill()
        self.relays.close()
