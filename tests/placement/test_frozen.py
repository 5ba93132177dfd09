"""A host that is frozen in the middle of a transaction has its accounts' rows locked. Whoever claims them ends its
sessions, in every state in which it can have stopped; what it had not committed never is.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psycopg
import pytest

from rookery.base.clock import SystemClock
from rookery.base.ids import AccountId
from rookery.distribution.placement.beats import Beats, dialler
from rookery.distribution.placement.claims import Claims
from rookery.distribution.placement.values import Here
from rookery.storage.hosting import application
from rookery.storage.postgres import PostgresDatabase
from tests.placement.conftest import PostgresPlace

pytestmark = pytest.mark.postgres

HOST, CLAIMANT = 10, 20
Connection = psycopg.Connection[tuple[object, ...]]

FENCE = b"SELECT epoch FROM account FOR SHARE"
WRITE = b"UPDATE account SET size_limit = 666"
GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
BLOCKED = b"SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'ClientWrite'"
LOCKED = b"SELECT count(*) FROM pg_locks WHERE pid = %s AND mode = 'RowExclusiveLock'"


def _until(sees: Connection, text: bytes, host: Connection) -> None:
    until = time.monotonic() + 30
    while (row := sees.execute(text, (host.info.backend_pid,)).fetchone()) is None or not row[0]:
        assert time.monotonic() < until


def idle_in_transaction(host: Connection, sees: Connection) -> None:
    host.execute(b"BEGIN")
    host.execute(FENCE)
    host.execute(WRITE)


def pipeline_without_sync(host: Connection, sees: Connection) -> None:
    host.pgconn.enter_pipeline_mode()
    for statement in (b"BEGIN", FENCE, WRITE):
        host.pgconn.send_query_params(statement, None)
    host.pgconn.send_flush_request()
    host.pgconn.flush()
    _until(sees, LOCKED, host)


def half_a_message_sent(host: Connection, sees: Connection) -> None:
    idle_in_transaction(host, sees)
    os.write(host.fileno(), b"Q" + (100).to_bytes(4, "big") + b"UPDATE acc")


def server_blocked_sending(host: Connection, sees: Connection) -> None:
    idle_in_transaction(host, sees)
    host.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
    host.pgconn.flush()
    _until(sees, BLOCKED, host)


STATES = [idle_in_transaction, pipeline_without_sync, half_a_message_sent, server_blocked_sending]


class Scene:
    """One account, hosted by an incarnation that has ended; another backend that lives."""

    def __init__(self, place: PostgresPlace) -> None:
        self.place = place
        postgres = place.postgres
        (self.account,) = place.add(1)
        beats = Beats(dialler(postgres.uri, postgres.schema, SystemClock(), lambda _: None))
        beats.register("a", "a:993", HOST, False)
        beats.register("b", "b:993", CLAIMANT, False)
        self.claims = Claims(PostgresDatabase(postgres.uri, (), postgres.schema))
        self.claims.claim(HOST, [self.account])
        beats.end({HOST: 0})
        beats.close()
        self.claims.rename(CLAIMANT)
        self.epoch = place.row(self.account)[1]
        self.sees = self.connection("test")

    def connection(self, name: str) -> Connection:
        made = psycopg.connect(self.place.postgres.uri, autocommit=True, application_name=name)
        made.execute(f"SET search_path = {self.place.postgres.schema}".encode())
        return made

    def claim(self) -> float:
        """Seconds that it took."""
        started = time.monotonic()
        found = self.claims.claim(CLAIMANT, [self.account]).found[self.account]
        took = time.monotonic() - started
        assert isinstance(found, Here)
        assert found.epoch > self.epoch
        assert self.place.row(self.account)[:2] == (CLAIMANT, found.epoch)
        return took

    def never_committed(self, host: Connection) -> None:
        """It goes on and sends its COMMIT, as far as it can."""
        host.pgconn.nonblocking = 1
        for send in (partial(host.pgconn.send_query_params, b"COMMIT", None), host.pgconn.pipeline_sync):
            with suppress(psycopg.Error):
                send()
        with suppress(psycopg.Error):
            host.pgconn.flush()
        _until(self.sees, GONE, host)
        assert self.sees.execute(b"SELECT size_limit FROM account").fetchone() == (0,)


@pytest.fixture
def scene(shared: PostgresPlace) -> Scene:
    return Scene(shared)


@pytest.mark.parametrize("freeze", STATES)
def test_a_frozen_host_is_ended_in_every_state(scene: Scene, freeze: Callable[[Connection, Connection], None]) -> None:
    host = scene.connection(application(HOST))
    freeze(host, scene.sees)
    assert scene.claim() < 1.0  # measured: 0.16 s, of which the lock is waited for 0.1 s
    scene.never_committed(host)


def test_so_is_a_claimant_that_froze(scene: Scene) -> None:
    """The row names somebody else; but it has ended too."""
    frozen = scene.connection(application(HOST))
    scene.sees.execute(b"UPDATE account SET incarnation = NULL")
    frozen.execute(b"BEGIN")
    frozen.execute(b"SELECT 1 FROM account FOR UPDATE")
    scene.claim()


def test_so_is_a_session_of_its_own_that_was_lost(scene: Scene) -> None:
    lost = scene.connection(application(CLAIMANT))
    other = scene.connection(application(CLAIMANT))  # the store's
    lost.execute(b"BEGIN")
    lost.execute(b"SELECT 1 FROM account FOR UPDATE")
    scene.claims.lost.add(lost.info.backend_pid)
    scene.claim()
    assert other.execute(b"SELECT 1").fetchone() == (1,)


def test_who_lives_is_not_ended(scene: Scene) -> None:
    bystander = scene.connection(application(CLAIMANT))
    stranger = scene.connection("rookery 99")
    host = scene.connection(application(HOST))
    idle_in_transaction(host, scene.sees)
    scene.claim()
    for one in (bystander, stranger):
        assert one.execute(b"SELECT 1").fetchone() == (1,)


def test_several_accounts_of_a_frozen_host_cost_one_wait(shared: PostgresPlace) -> None:
    scene = Scene(shared)
    more: list[AccountId] = shared.add(30)
    host = scene.connection(application(HOST))
    idle_in_transaction(host, scene.sees)
    found = scene.claims.claim(CLAIMANT, [scene.account, *more]).found
    assert all(isinstance(one, Here) for one in found.values())
