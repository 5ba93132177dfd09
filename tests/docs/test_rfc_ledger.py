"""docs/rfc.md is true as far as a machine can tell: its tests exist, and it names every word that we announce."""

import ast
import datetime
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import msgspec
import pytest

from rookery.management.certificates import make_self_signed
from rookery.net.tls import server_context
from rookery.wire.smtp.offers import Offer, greeting_reply
from tests.access.imap.support import DOMAIN, OUTSIDE, PASSWORD, World, make_world
from tests.docs.markdown import DOCS, ROOT, tables

HEAD = ["RFC", "title", "announced as", "state", "what is missing", "shown by"]
OUR_OWN = {"XDELIVERY"}  # announced on streams inside the process only


class Row(msgspec.Struct, frozen=True):
    number: str
    title: str
    words: tuple[str, ...]
    state: str
    missing: str
    tests: tuple[str, ...]


def _quoted(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def _rows() -> list[Row]:
    found = []
    for head, *rows in tables((DOCS / "rfc.md").read_text()):
        if head == HEAD:
            for number, title, words, state, missing, tests in rows:
                found.append(Row(number, title, _quoted(words), state, missing, _quoted(tests)))
    return found


ROWS = _rows()


@lru_cache
def _functions(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_it_is_a_ledger() -> None:
    assert len(ROWS) > 60
    numbers = [row.number for row in ROWS if row.number != "-"]
    assert len(numbers) == len(set(numbers)), "a standard stands twice"
    words = Counter(word for row in ROWS for word in row.words)
    assert [word for word, count in words.items() if count > 1] == ["STARTTLS"], "SMTP and IMAP have that in common"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}-{row.title}"[:40])
def test_a_row_is_true(row: Row) -> None:
    assert row.number == "-" or row.number.isdigit()
    assert row.state in ("yes", "partly")
    assert row.missing or row.state == "yes", "partly, but what is missing?"
    assert row.tests, "nothing shows it"
    for name in row.tests:
        path, _, function = name.partition("::")
        assert (ROOT / "tests" / path).is_file(), name
        assert function in _functions(ROOT / "tests" / path), name


async def _imap_words(folder: Path) -> set[str]:
    """Every word of every capability line: in clear from outside and from here, and after the login."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make_self_signed(certificate, key, [DOMAIN], datetime.datetime.now(datetime.UTC))
    async with make_world(folder, "alice", tls=server_context(certificate, key)) as world:
        lines = [await _before_login(world, outside=True), await _before_login(world, outside=False)]
        client = world.connect()
        await client.line()
        await client.ok(f'LOGIN alice@{DOMAIN} "{PASSWORD}"')
        lines += await client.ok("CAPABILITY")
    words = {word for line in lines for word in line.decode("ascii").split()}
    return words - {"*", "CAPABILITY"}


async def _before_login(world: World, *, outside: bool) -> bytes:
    client = world.connect(OUTSIDE) if outside else world.connect()
    await client.line()
    (line,) = await client.ok("CAPABILITY")
    return line


def _smtp_words() -> set[str]:
    """Everything that an offer may hold, as EHLO and LHLO announce it."""
    offer = Offer(size=1, starttls=True, auth=("PLAIN",), smtputf8=True, chunking=True, xdelivery=True)
    lines = greeting_reply("here", offer).decode("ascii").splitlines()
    return {line[4:].split()[0] for line in lines[1:]}


async def test_every_word_we_announce_is_in_it_and_no_other(tmp_path: Path) -> None:
    announced = {re.sub(r"^(APPENDLIMIT)=.*", r"\1", word) for word in await _imap_words(tmp_path)} | _smtp_words()
    assert {"IMAP4rev2", "STARTTLS", "LOGINDISABLED", "AUTH=SCRAM-SHA-256", "IDLE", "PIPELINING"} <= announced
    assert announced - OUR_OWN == {word for row in ROWS for word in row.words}


async def test_what_is_not_there_is_not_announced(tmp_path: Path) -> None:
    announced = await _imap_words(tmp_path) | _smtp_words()
    missing = [rows for head, *rows in tables((DOCS / "rfc.md").read_text()) if head[:2] == ["RFC", "title"]][-1]
    named = {word.rstrip(",") for row in missing for word in row[1].split()}
    assert {"QRESYNC", "MULTIAPPEND", "Sieve", "POP3", "JMAP"} <= named
    assert not named & announced
