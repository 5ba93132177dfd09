"""Which of several servers is asked first: the one that answered last, and last of all one that has fallen silent.

A connection string may name a primary and its standbys (`host=db1,db2`). Each one that is silent costs a connection
seconds before the next is tried, so what one connection has found out holds for all of the process. The others are
still tried in their turn, and `target_session_attrs` still decides who will do.
"""

import functools
import threading
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rookery.base.errors import Cause, RookeryError

_LISTS = ("host", "hostaddr", "port")
_HARMLESS = ("invalid connection option", "invalid URI query parameter")  # others repeat what holds the password


class Server(NamedTuple):
    """As in the connection string, where `host` or `hostaddr` may be left out."""

    host: str
    hostaddr: str
    port: str


class Servers:
    """Those of one connection string; any thread."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._lock = threading.Lock()
        self._order = _named(conninfo)

    def conninfo(self) -> str:
        """The connection string, with the servers in the order in which they are to be tried now."""
        order = self._order
        if len(order) < 2:
            return self._conninfo
        lists = {name: ",".join(one[place] for one in order) for place, name in enumerate(_LISTS)}
        return make_conninfo(self._conninfo, **{name: text for name, text in lists.items() if text.strip(",")})

    def answers(self, host: str, port: int) -> None:
        """It has taken a connection, and will do."""
        self._move(host, port, -1)

    def silent(self, host: str, port: int) -> None:
        """It has not answered for long, and a connection was lost."""
        self._move(host, port, 1)

    def _move(self, host: str, port: int, place: int) -> None:
        def rank(server: Server) -> int:
            return place if host in (server.host, server.hostaddr) and str(port) == (server.port or "5432") else 0

        with self._lock:
            self._order = sorted(self._order, key=rank)


@functools.cache
def servers(conninfo: str) -> Servers:
    """One for all who connect so in this process. Raises RookeryError(INVALID) when it is no connection string."""
    return Servers(conninfo)


def _named(conninfo: str) -> list[Server]:
    """Nothing, where it names none, or none that could be told apart: then libpq has the last word."""
    try:
        facts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        why = f": {error}".rstrip() if str(error).startswith(_HARMLESS) else ""
        raise RookeryError(Cause.INVALID, f"the database's connection string cannot be read{why}") from None
    hosts, addresses, ports = (str(facts[name]).split(",") if facts.get(name) else [] for name in _LISTS)
    count = max(len(hosts), len(addresses))
    if len(ports) == 1:
        ports *= count
    if any(values and len(values) != count for values in (hosts, addresses, ports)):
        return []
    return [
        Server(*(values[place] if values else "" for values in (hosts, addresses, ports))) for place in range(count)
    ]
