"""Several servers in one connection string: the one that answered last is asked first, and a silent one last."""

import socket
import uuid
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from rookery.base.clock import SystemClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.storage.postgres_dial import Dial
from rookery.storage.postgres_servers import Servers
from tests.postgres import Postgres, Wire

COMMON = "dbname=mail target_session_attrs=read-write"


def _lists(servers: Servers) -> tuple[object, ...]:
    facts = conninfo_to_dict(servers.conninfo())
    return tuple(facts.get(name) for name in ("host", "hostaddr", "port"))


def test_one_server_is_asked_as_it_is_written() -> None:
    for text in (f"{COMMON} host=db1", COMMON, "postgresql://u@db1/mail", f"{COMMON} hostaddr=192.0.2.1 port=5433"):
        servers = Servers(text)
        servers.silent("db1", 5432)
        assert servers.conninfo() == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("host=db1 passwort=sesam", ': invalid connection option "passwort"'),
        ("mysql://rookery:sesam@db1/mail", ""),
        ("postgresql://rookery:ses%zzam@db1/mail", ""),
        ("nonsense", ""),
    ],
)
def test_what_is_no_connection_string_is_refused_without_its_password(text: str, why: str) -> None:
    with pytest.raises(RookeryError) as caught:
        Dial(text, "none", "test", clock=SystemClock(), pause=lambda seconds: None)
    assert caught.value.refusal == Refusal(Cause.INVALID, f"the database's connection string cannot be read{why}")


def test_the_order_follows_who_answers() -> None:
    servers = Servers(f"host=db1,db2,db3 {COMMON}")
    assert _lists(servers) == ("db1,db2,db3", None, None)
    servers.answers("db2", 5432)
    assert _lists(servers) == ("db2,db1,db3", None, None)
    servers.silent("db2", 5432)
    assert _lists(servers) == ("db1,db3,db2", None, None)
    servers.answers("elsewhere", 5432)
    servers.answers("db3", 5433)
    assert _lists(servers) == ("db1,db3,db2", None, None)
    assert conninfo_to_dict(servers.conninfo())["target_session_attrs"] == "read-write"


def test_addresses_and_ports_go_with_their_hosts() -> None:
    servers = Servers(f"host=db,db,/run/pg hostaddr=192.0.2.1,192.0.2.2, port=5432,5433,5434 {COMMON}")
    servers.answers("db", 5433)
    assert _lists(servers) == ("db,db,/run/pg", "192.0.2.2,192.0.2.1,", "5433,5432,5434")
    servers.answers("/run/pg", 5434)
    assert _lists(servers) == ("/run/pg,db,db", ",192.0.2.2,192.0.2.1", "5434,5433,5432")
    servers = Servers(f"hostaddr=192.0.2.1,192.0.2.2 port=5433 {COMMON}")
    servers.answers("192.0.2.2", 5433)
    assert _lists(servers) == (None, "192.0.2.2,192.0.2.1", "5433,5433")


def test_what_does_not_fit_together_is_left_to_the_library() -> None:
    text = f"host=db1,db2,db3 port=1,2 {COMMON}"
    servers = Servers(text)
    servers.answers("db2", 2)
    assert servers.conninfo() == text


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def _asked(listener: socket.socket) -> int:
    """How often since the last call."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.postgres
def test_a_silent_server_is_waited_for_once(fresh_postgres: Postgres, wire: Wire, silent: socket.socket) -> None:
    folder = conninfo_to_dict(wire.uri)["host"]
    conninfo = (
        f"host=127.0.0.1,{folder} port={silent.getsockname()[1]},5432 user=postgres dbname=postgres"
        f" application_name={uuid.uuid4()}"  # nobody else's order
    )
    fresh_postgres.open(()).close()

    def dial() -> Dial:
        return Dial(conninfo, fresh_postgres.schema, "test", clock=SystemClock(), pause=lambda seconds: None)

    first = dial().connect()
    assert _asked(silent) == 1
    dial().connect().close()  # another Dial: beats make one for each attempt
    assert _asked(silent) == 0
    wire.speaking.clear()
    first.patience = 0.05
    with pytest.raises(Exception, match="timeout"):
        first.execute("SELECT 1")
    wire.speaking.set()
    dial().connect().close()  # now the other one is the silent one
    assert _asked(silent) == 1
