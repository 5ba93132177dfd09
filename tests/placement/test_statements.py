"""The statements against each other, on real connections: what one of them does while the other waits for its lock."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from rookery.base.clock import SystemClock
from rookery.base.errors import Cause, Refusal, RookeryError
from rookery.distribution.placement import beats as beats_module
from rookery.distribution.placement import claims as claims_module
from rookery.distribution.placement.beats import Beats, dialler
from rookery.distribution.placement.claims import Claims
from rookery.distribution.placement.values import Answer, Claimed, Elsewhere, Here
from rookery.storage.postgres import PostgresDatabase
from tests.placement.conftest import PostgresPlace
from tests.postgres import Wire

pytestmark = pytest.mark.postgres

Connection = psycopg.Connection[tuple[object, ...]]


class Hands:
    """Connections of the test's own, and calls that wait on threads."""

    def __init__(self, place: PostgresPlace) -> None:
        self.place = place
        self.threads = ThreadPoolExecutor(16)
        self._opened: list[Callable[[], None]] = []

    def beats(self) -> Beats:
        postgres = self.place.postgres
        made = Beats(dialler(postgres.uri, postgres.schema, SystemClock(), lambda _: None))
        self._opened.append(made.close)
        return made

    def claims(self, uri: str = "", pause: Callable[[float], None] = lambda _: None) -> Claims:
        postgres = self.place.postgres
        made = Claims(PostgresDatabase(uri or postgres.uri, (), postgres.schema, pause=pause))
        self._opened.append(made.close)
        return made

    def connection(self, name: str = "") -> Connection:
        made = psycopg.connect(self.place.postgres.uri, autocommit=True, application_name=name)
        made.execute(f"SET search_path = {self.place.postgres.schema}".encode())
        self._opened.append(made.close)
        return made

    def until_waiting(self, call: "Future[object]") -> None:
        """The call waits for a lock."""
        sees = self.connection()
        text = b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not call.done():
            row = sees.execute(text).fetchone()
            if row and row[0]:
                return
        raise AssertionError("it waited for nobody")

    def close(self) -> None:
        for end in self._opened:
            end()
        self.threads.shutdown()


@pytest.fixture
def hands(shared: PostgresPlace) -> Iterator[Hands]:
    made = Hands(shared)
    yield made
    made.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "LOCK_MS", 5000)


class TestDeathAgainstBeat:
    def test_a_beat_under_way_is_no_silence(self, hands: Hands) -> None:
        beats = hands.beats()
        beats.register("a", "a:993", 10, False)
        host = hands.connection()
        with host.transaction():
            host.execute(beats_module._BEAT.encode(), (False, 10))
            assert hands.beats().end({10: 0}) == set()  # and nobody waits
        assert beats.beat(10, False).mine == 2

    def test_a_death_under_way_is_waited_for_and_found(self, hands: Hands) -> None:
        beats = hands.beats()
        beats.register("a", "a:993", 10, False)
        watcher = hands.connection()
        with watcher.transaction():
            watcher.execute(beats_module._END.encode(), ([10], [0]))
            beat = hands.threads.submit(beats.beat, 10, False)
            hands.until_waiting(beat)  # type: ignore[arg-type]
        assert beat.result().mine is None

    def test_of_several_deaths_one_is_recorded(self, hands: Hands) -> None:
        hands.beats().register("a", "a:993", 10, False)
        together = threading.Barrier(4)

        def end(watcher: Beats) -> set[int]:
            watcher.beat(0, False)  # connected
            together.wait()
            return watcher.end({10: 0})

        watchers = [hands.beats() for _ in range(4)]
        assert sorted(map(len, hands.threads.map(end, watchers))) == [0, 0, 0, 1]

    def test_many_die_at_once_whoever_says_so_first(self, hands: Hands) -> None:
        """Watchers that lock the same rows in different orders do not wait for each other."""
        registering = hands.beats()
        for n in range(30):
            registering.register(f"b{n}", "", n + 1, False)
        registering.beat(30, False)
        together = threading.Barrier(6)

        def end(watcher: Beats, number: int) -> set[int]:
            watcher.beat(0, False)
            together.wait()
            return watcher.end(dict.fromkeys(range(1, 31)[:: 1 if number % 2 else -1], 0))

        ended = list(hands.threads.map(end, [hands.beats() for _ in range(6)], range(6)))
        assert sorted(n for one in ended for n in one) == list(range(1, 30))
        assert registering.beat(30, False).mine == 2


class TestRegistering:
    def test_of_two_with_one_name_one_lives(self, hands: Hands) -> None:
        together = threading.Barrier(6)

        def register(beats: Beats, incarnation: int) -> Answer | RookeryError:
            beats.beat(0, False)
            together.wait()
            try:
                beats.register("a", "a:993", incarnation, False)
            except RookeryError as error:
                return error
            return beats.beat(incarnation, False)

        made = list(hands.threads.map(register, [hands.beats() for _ in range(6)], range(10, 16)))
        refused = [one for one in made if isinstance(one, RookeryError)]
        assert len(refused) < 6
        assert all(one.cause is Cause.BUSY for one in refused)
        assert len(hands.beats().beat(0, False).others) == 1


@pytest.mark.usefixtures("patient")
class TestTheft:
    """The claimant waits for the row of an account whose host has ended; whoever has it locked is that host, started
    again, and claims it. The waiting statement finds the new row, and must see that its host is a living one.
    """

    def _stolen(self, hands: Hands, accounts_host: int | None) -> Claimed:
        (account,) = hands.place.add(1)
        beats = hands.beats()
        beats.register("a", "a:993", 10, False)
        beats.register("b", "b:993", 20, False)
        host = hands.connection()
        host.execute(b"UPDATE account SET incarnation = %s", (accounts_host,))
        beats.end({10: 0})
        claims = hands.claims()
        with host.transaction():
            host.execute(b"SELECT 1 FROM account FOR UPDATE")
            claim = hands.threads.submit(claims.claim, 20, [account])
            hands.until_waiting(claim)  # type: ignore[arg-type]
            beats.register("a", "a:993", 11, False)
            host.execute(b"UPDATE account SET incarnation = 11, epoch = nextval('epoch')")
        claimed = claim.result()
        assert hands.place.row(account)[0] == 11
        assert claimed.found[account] == Elsewhere("a", "a:993", 11)
        return claimed

    def test_from_a_host_that_had_ended(self, hands: Hands) -> None:
        self._stolen(hands, 10)

    def test_of_what_nobody_hosted(self, hands: Hands) -> None:
        self._stolen(hands, None)

    def test_the_statement_that_judges_while_it_waits_steals(self, hands: Hands) -> None:
        """Why the row is locked first: the same in one statement, with `no living host` as its condition."""
        hands.place.add(1)
        beats = hands.beats()
        beats.register("b", "b:993", 20, False)
        host, thief = hands.connection(), hands.connection()
        with host.transaction():
            host.execute(b"SELECT 1 FROM account FOR UPDATE")
            theft = hands.threads.submit(
                thief.execute,
                b"UPDATE account a SET incarnation = 20 WHERE NOT EXISTS"
                b" (SELECT FROM incarnation i WHERE i.incarnation = a.incarnation AND NOT i.ended)",
            )
            hands.until_waiting(theft)  # type: ignore[arg-type]
            beats.register("a", "a:993", 11, False)
            host.execute(b"UPDATE account SET incarnation = 11")
        assert theft.result().rowcount == 1


class TestClaimsAtOnce:
    def test_each_account_is_claimed_by_exactly_one(self, hands: Hands) -> None:
        accounts = hands.place.add(200)
        beats = hands.beats()
        for incarnation in range(1, 5):
            beats.register(f"b{incarnation}", "", incarnation, False)
        together = threading.Barrier(4)

        def claim(claims: Claims, incarnation: int) -> Claimed:
            together.wait()
            order = accounts if incarnation % 2 else accounts[::-1]
            return claims.claim(incarnation, order)

        made = list(hands.threads.map(claim, [hands.claims() for _ in range(4)], range(1, 5)))
        for account in accounts:
            assert sum(isinstance(one.found[account], Here) for one in made) == 1
        epochs = [found.epoch for one in made for found in one.found.values() if isinstance(found, Here)]
        assert len(set(epochs)) == 200
        for incarnation, one in enumerate(made, 1):
            for account, found in one.found.items():
                if isinstance(found, Here):
                    assert hands.place.row(account)[:2] == (incarnation, found.epoch)

    def test_epochs_rise(self, hands: Hands) -> None:
        (account,) = hands.place.add(1)
        beats, claims = hands.beats(), hands.claims()
        epochs = []
        for incarnation in (1, 2, 3):
            beats.register("a", "", incarnation, False)
            claims.claim(incarnation, [account])
            epochs.append(hands.place.row(account)[1])
        assert epochs == sorted(set(epochs))

    def test_a_row_that_stays_locked_keeps_no_other(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(claims_module, "LOCK_MS", 5)
        first, locked, last = hands.place.add(3)
        hands.beats().register("a", "", 10, False)
        claims = hands.claims()
        somebody = hands.connection()
        with somebody.transaction():
            somebody.execute(b"SELECT 1 FROM account WHERE account = 2 FOR SHARE")
            found = claims.claim(10, [first, locked, last]).found
        refused = found[locked]
        assert isinstance(refused, Refusal)
        assert refused.cause is Cause.BUSY
        assert isinstance(found[first], Here)
        assert isinstance(found[last], Here)
        assert isinstance(claims.claim(10, [locked]).found[locked], Here)

    def test_a_host_at_work_is_not_waited_for(self, hands: Hands) -> None:
        (account,) = hands.place.add(1)
        beats = hands.beats()
        beats.register("a", "a:993", 10, False)
        beats.register("b", "b:993", 20, False)
        hands.claims().claim(10, [account])
        host = hands.connection("rookery 10")
        with host.transaction():
            host.execute(b"SELECT 1 FROM account FOR SHARE")
            assert hands.claims().claim(20, [account]).found[account] == Elsewhere("a", "a:993", 10)

    def test_the_lost_answer_to_a_commit_is_asked_for(self, hands: Hands, wire: Wire) -> None:
        (account,) = hands.place.add(1)
        hands.beats().register("a", "", 10, False)
        claims = hands.claims(wire.uri, pause=lambda _: None if wire.path.exists() else wire.go_on())
        wire.cut_at_commit()
        found = claims.claim(10, [account]).found[account]
        assert isinstance(found, Here)
        assert hands.place.row(account)[:2] == (10, found.epoch)
