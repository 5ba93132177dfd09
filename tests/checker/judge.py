"""Reads everything in the end, through IMAP and in the database, and compares it with the history."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

from tests.checker.history import History, Letter, Place
from tests.checker.users import OURS
from tests.checker.witness import testimony
from tests.journeys.cluster import Cluster
from tests.journeys.imap import Client

Found = Mapping[str, dict[Place, frozenset[str]]]  # by mark

_SHOWN = re.compile(rb"(\* \d+ FETCH [^{]*)\{(\d+)\}\r\n")
_MARK = re.compile(rb"X-Mark: ([a-z0-9-]+)")
_UID = re.compile(rb"[ (]UID (\d+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_LISTED = re.compile(rb'^\* LIST \([^)]*\) "[^"]*" "?([^"\r\n]+)"?\r\n$')
PATIENCE = 60.0  # seconds for a mailbox to be read

_KEPT = """SELECT encode(a.id, 'hex'), count(*) FROM store.presence p JOIN store.account a ON a.account = p.account
    WHERE NOT EXISTS (SELECT 1 FROM store.dropped d WHERE d.account = p.account AND d.mailbox IN (0, p.mailbox))
    GROUP BY 1"""


class Seen(NamedTuple):
    mark: str
    place: Place
    flags: frozenset[str]
    text: bytes


def judge(cluster: Cluster, history: History) -> list[str]:
    """Every violation of what was promised. Nobody else is at work, and the queue is empty."""
    found: dict[str, dict[Place, frozenset[str]]] = defaultdict(dict)
    complaints = list(history.violations)
    kept = {row[0]: row[1] for row in cluster.database.run(_KEPT)}
    for account in cluster.passwords:
        with closing(_patient(cluster, account)) as client:
            mailboxes = dict(_mailboxes(client))
            seen = [one for name, validity in mailboxes.items() for one in _messages(client, account, name, validity)]
        for one in seen:
            found[one.mark][one.place] = one.flags
            if not one.text.endswith(history.sent.get(one.mark, b"nobody")):
                complaints.append(f"{one.mark} at {one.place} is not what was sent")
        stored = kept.get(cluster.json("account", "host", account)["account"], 0)
        if len(seen) != stored:
            complaints.append(f"{account} shows {len(seen)} messages, the database has {stored}")
        names = {validity: name for name, validity in mailboxes.items()}
        for (owner, validity), possible in history.folders.items():
            if owner == account and names.get(validity) not in possible:
                complaints.append(f"{account}: folder {validity} is {names.get(validity)}, not one of {possible}")
    complaints += _deliveries(history, found)
    for letter in history.letters.values():
        complaints += _compare(letter, found.get(letter.mark, {}))
    complaints += [f"{mark} was never sent" for mark in found if mark not in history.letters | history.offered]
    return complaints + list(testimony(cluster.database))


def _patient(cluster: Cluster, account: str) -> Client:
    client, name = cluster.log_in(account)
    client.close()
    return cluster.connect(name, account, patience=PATIENCE)


def _mailboxes(client: Client) -> Iterator[tuple[str, int]]:
    """Names and UIDVALIDITY."""
    for listed in client.ask('LIST "" *').lines:
        named = _LISTED.search(listed)
        assert named, listed
        name = named[1].decode()
        yield name, client.ask(f"SELECT {name}").numbers("UIDVALIDITY")[0][0]


def _messages(client: Client, account: str, mailbox: str, validity: int) -> Iterator[Seen]:
    client.ask(f"SELECT {mailbox}")
    last = 0
    for line in client.ask("UID FETCH 1:* (UID FLAGS BODY.PEEK[])").lines:
        shown = _SHOWN.match(line)
        if not shown:
            continue
        flags, uid, size = _FLAGS.search(shown[1]), _UID.search(shown[1]), int(shown[2])
        text = line[shown.end() : shown.end() + size]
        mark = _MARK.search(text)
        assert flags, line
        assert uid, line
        assert mark, line
        assert int(uid[1]) > last, f"{account} {mailbox}: UID {uid[1]!r} after {last}"
        last = int(uid[1])
        kept = frozenset(flags[1].decode().split()) & OURS
        yield Seen(mark[1].decode(), Place(account, validity, last), kept, text)


def _deliveries(history: History, found: Found) -> Iterator[str]:
    for mark, account in history.offered.items():
        places = found.get(mark, {})
        if len(places) > 1:
            yield f"{mark} was delivered {len(places)} times: {list(places)}"
        if mark in history.delivered and not places:
            yield f"{mark} to {account} was acknowledged and is not there"
        if any(place.account != account for place in places):
            yield f"{mark} to {account} is at {list(places)}"


def _compare(letter: Letter, found: Mapping[Place, frozenset[str]]) -> Iterator[str]:
    """What must be there is, what must not is not; what is in doubt is one of both."""
    must, doubt = dict(letter.places), letter.doubt
    story = f"{letter.mark}: expected {letter.places}, in doubt {doubt}, found {dict(found)}"
    if doubt is None:
        if must != dict(found):
            yield story
        return
    more = [place for place in found if place not in must]
    if len(more) > (doubt.target is not None) or any(place.validity != doubt.target for place in more):
        yield f"more than there may be: {story}"
    if doubt.source is None:
        missing = [place for place in must if found.get(place) != must[place]]
    else:
        missing = [place for place in must if place != doubt.source and found.get(place) != must[place]]
        there = found.get(doubt.source)
        allowed: set[frozenset[str] | None] = {must[doubt.source]}
        if doubt.flags is not None:
            allowed.add(doubt.flags)
        elif doubt.target is None:
            allowed.add(None)  # perhaps expunged
        if doubt.moved and bool(more) == (there is not None):
            yield f"moved by half: {story}"
        elif not doubt.moved and there not in allowed:
            yield f"not as it was and not as it was to be: {story}"
    if missing:
        yield f"missing or changed: {story}"
