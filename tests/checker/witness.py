"""What was written is seen by the database itself: triggers note each new UID and change number, who wrote it, and
which host and epoch the account's row named at that moment. Notes are committed, or not, with what they are about.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.journeys.cluster import PostgresServer

_NOTES = """
CREATE SCHEMA witness;
CREATE TABLE witness.note (
    number BIGSERIAL PRIMARY KEY,
    transaction TEXT NOT NULL DEFAULT pg_current_xact_id()::text,
    writer TEXT NOT NULL DEFAULT current_setting('application_name'),
    account BIGINT NOT NULL, mailbox BIGINT, uid BIGINT, modseq BIGINT NOT NULL,
    epoch BIGINT NOT NULL, incarnation BIGINT
);
CREATE FUNCTION witness.presence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.note (account, mailbox, uid, modseq, epoch, incarnation)
    SELECT m.account, m.mailbox, m.uid, m.created, a.epoch, a.incarnation
    FROM made m JOIN store.account a ON a.account = m.account ORDER BY m.account, m.mailbox, m.uid;
    RETURN NULL;
END $$;
CREATE FUNCTION witness.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.note (account, modseq, epoch, incarnation)
    SELECT m.account, m.modseq, a.epoch, a.incarnation
    FROM made m JOIN store.account a ON a.account = m.account ORDER BY m.account, m.modseq;
    RETURN NULL;
END $$;
CREATE TRIGGER witnessed AFTER INSERT ON store.presence REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION witness.presence();
CREATE TRIGGER witnessed AFTER INSERT ON store.change REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION witness.change();
"""


class Note(NamedTuple):
    transaction: str
    writer: str
    account: int
    mailbox: int | None
    uid: int | None
    modseq: int
    epoch: int
    incarnation: int | None


def watch(database: PostgresServer) -> None:
    database.run(_NOTES)


def testimony(database: PostgresServer) -> Iterator[str]:
    """What was written and should not have been."""
    rows = database.run(f"SELECT {', '.join(Note._fields)} FROM witness.note ORDER BY number")
    notes = [Note(*row) for row in rows]  # type: ignore[arg-type]
    assert notes, "the witness saw nothing"
    # A change that waited while its process registered anew is written under the epoch of its claim, if nobody has
    # claimed since: the incarnations are two then, the host is one.
    backends = {
        f"rookery {one}": name for one, name in database.run("SELECT incarnation, backend FROM store.incarnation")
    }
    writers: dict[tuple[int, int], set[object]] = defaultdict(set)
    for note in notes:
        host = backends.get(f"rookery {note.incarnation}", "nobody")
        writer = backends.get(note.writer, note.writer)
        writers[note.account, note.epoch].add(writer)
        if writer != host and note.incarnation is not None:  # released meanwhile it is written in its last host's name
            yield f"{writer} wrote to an account hosted by {host}: {note}"
    for (account, epoch), names in writers.items():
        if len(names) > 1:
            yield f"account {account}, epoch {epoch}: written by {sorted(map(str, names))}"
    yield from _rising("change number", [(n.transaction, (n.account,), n.modseq) for n in notes], once=False)
    births = [(n.transaction, (n.account, n.mailbox or 0), n.uid) for n in notes if n.uid is not None]
    yield from _rising("UID", births, once=True)


def _rising(what: str, seen: Sequence[tuple[str, tuple[int, ...], int]], *, once: bool) -> Iterator[str]:
    """Transaction after transaction, everything in a later one is greater; `once`: within one nothing comes twice."""
    highest: dict[tuple[int, ...], int] = {}  # of all transactions before
    current: dict[tuple[int, ...], tuple[str, set[int]]] = {}
    for transaction, where, number in seen:
        inside = current.get(where)
        if inside is None or inside[0] != transaction:
            if inside is not None:
                highest[where] = max(highest.get(where, 0), *inside[1])
            inside = current[where] = (transaction, set())
        if number <= highest.get(where, 0) or (once and number in inside[1]):
            yield f"{what} {number} of {where} after {highest.get(where, 0)} and {sorted(inside[1])[-3:]}"
        inside[1].add(number)
