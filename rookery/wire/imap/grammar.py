"""From the octets of one command to its value (RFC 9051 section 9), and which state allows which command (section 3).

`read_command` raises `Wrong` and nothing else. Families with grammars of their own are in `grammar_fetch`,
`grammar_list` and `grammar_search`. SEARCH and friends return nested tuples at most as deep as their limits.
"""

import binascii
import re
from collections.abc import Callable
from enum import IntFlag

from rookery.wire.imap import commands as c
from rookery.wire.imap.grammar_fetch import fetch, store
from rookery.wire.imap.grammar_list import list_mailboxes, lsub, status
from rookery.wire.imap.grammar_search import search
from rookery.wire.imap.scanner import NUMBER_63, Scanner, Wrong

ID_LIMIT = 30  # RFC 2971 section 3.3: no more than 30 pairs
ENABLE_LIMIT = 50


class State(IntFlag):
    """RFC 9051 section 3."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGOUT = 8


_ANY = State.NOT_AUTHENTICATED | State.AUTHENTICATED | State.SELECTED
_LOGGED_IN = State.AUTHENTICATED | State.SELECTED

Parser = Callable[[Scanner], c.Command]


def _plain(command: c.Command) -> Parser:
    def parse(scanner: Scanner) -> c.Command:
        scanner.end()
        return command

    return parse


def _mailbox_command(make: Callable[[str], c.Command]) -> Parser:
    def parse(scanner: Scanner) -> c.Command:
        mailbox = scanner.mailbox()
        scanner.end()
        return make(mailbox)

    return parse


def _id(scanner: Scanner) -> c.Id:
    fields: list[tuple[str, str | None]] = []
    if scanner.data[scanner.pos :].upper() == b"NIL":
        return c.Id(())
    scanner.expect(b"(")
    while not scanner.accept(b")"):
        if fields:
            scanner.space()
        if len(fields) >= ID_LIMIT:
            raise Wrong(f"more than {ID_LIMIT} fields", scanner.pos)
        name = scanner.string("a field name")
        scanner.space()
        value = scanner.nstring("a field value")
        text = None if value is None else value.decode("utf-8", "replace")
        fields.append((name.decode("utf-8", "replace"), text))
    scanner.end()
    return c.Id(tuple(fields))


def _login(scanner: Scanner) -> c.Login:
    username = scanner.astring("a user name")
    scanner.space()
    password = scanner.astring("a password")
    scanner.end()
    return c.Login(username, password)


def decode_base64(data: bytes, position: int | None = None) -> bytes:
    """Strict base64 of RFC 4648 section 4."""
    try:
        return binascii.a2b_base64(data, strict_mode=True) if data else b""
    except binascii.Error:
        raise Wrong("not base64", position) from None


def _authenticate(scanner: Scanner) -> c.Authenticate:
    mechanism = scanner.word("a SASL mechanism")
    initial = None
    if not scanner.at_end:
        scanner.space()
        start = scanner.pos
        rest = scanner.data[start:]
        initial = b"" if rest == b"=" else decode_base64(rest, start)
        if not rest:
            raise Wrong("expected an initial response", start)
    return c.Authenticate(mechanism, initial)


def _enable(scanner: Scanner) -> c.Enable:
    names = [scanner.word("a capability")]
    while not scanner.at_end:
        scanner.space()
        names.append(scanner.word("a capability"))
        if len(names) > ENABLE_LIMIT:
            raise Wrong(f"more than {ENABLE_LIMIT} capabilities", scanner.pos)
    return c.Enable(tuple(names))


def _select(readonly: bool) -> Parser:
    def parse(scanner: Scanner) -> c.Select:
        mailbox = scanner.mailbox()
        condstore, qresync = False, None
        if not scanner.at_end:
            scanner.space()
            condstore, qresync = _select_parameters(scanner)
        scanner.end()
        return c.Select(mailbox, readonly, condstore, qresync)

    return parse


def _select_parameters(scanner: Scanner) -> tuple[bool, c.Qresync | None]:
    """RFC 7162 sections 3.1.8 and 3.2.5."""
    scanner.expect(b"(")
    condstore, qresync = False, None
    while True:
        start = scanner.pos
        name = scanner.word("a select parameter")
        if name == "CONDSTORE":
            condstore = True
        elif name == "QRESYNC":
            scanner.space()
            qresync = _qresync(scanner)
        else:
            raise Wrong("no such select parameter", start)
        if scanner.accept(b")"):
            return condstore, qresync
        scanner.space()


def _qresync(scanner: Scanner) -> c.Qresync:
    scanner.expect(b"(")
    uidvalidity = scanner.number(least=1, expected="a UIDVALIDITY")
    scanner.space()
    modseq = scanner.number(NUMBER_63, expected="a mod-sequence")
    known, matches = None, None
    if scanner.accept(b" ") and scanner.peek() != b"(":
        known = scanner.sequence()
        if scanner.accept(b" ") and scanner.peek() != b"(":
            raise scanner.wrong("(")
    if scanner.accept(b"("):
        numbers = scanner.sequence()
        scanner.space()
        matches = (numbers, scanner.sequence())
        scanner.expect(b")")
    scanner.expect(b")")
    return c.Qresync(uidvalidity, modseq, known, matches)


def _create(scanner: Scanner) -> c.Create:
    name = scanner.mailbox()
    uses: tuple[str, ...] = ()
    if not scanner.at_end:
        scanner.space()
        start = scanner.pos
        scanner.expect(b"(")
        if scanner.word("USE") != "USE":
            raise Wrong("expected USE", start)
        scanner.space()
        uses = _uses(scanner)
        scanner.expect(b")")
    scanner.end()
    if len(name) > 1 and name.endswith("/"):  # RFC 9051 6.3.4: a hint that children will follow
        name = name[:-1]
    return c.Create(name, uses)


_USE = re.compile(rb"\\[A-Za-z]{1,30}")


def _uses(scanner: Scanner) -> tuple[str, ...]:
    scanner.expect(b"(")
    found: list[str] = []
    while not scanner.accept(b")"):
        if found:
            scanner.space()
        found.append(scanner.match(_USE, "a special-use attribute")[0].decode("ascii"))
        if len(found) > ENABLE_LIMIT:
            raise Wrong("too many special-use attributes", scanner.pos)
    return tuple(found)


def _rename(scanner: Scanner) -> c.Rename:
    mailbox = scanner.mailbox()
    scanner.space()
    target = scanner.mailbox()
    scanner.end()
    return c.Rename(mailbox, target)


def _quota(scanner: Scanner) -> c.GetQuota:
    start = scanner.pos
    root = scanner.text(scanner.astring("a quota root"), start)
    scanner.end()
    return c.GetQuota(root)


def _uid_expunge(scanner: Scanner) -> c.Expunge:
    numbers = scanner.sequence()
    scanner.end()
    return c.Expunge(numbers)


def _transfer(make: type[c.Copy] | type[c.Move], uid: bool) -> Parser:
    def parse(scanner: Scanner) -> c.Command:
        numbers = scanner.sequence()
        scanner.space()
        mailbox = scanner.mailbox()
        scanner.end()
        return make(numbers, mailbox, uid)

    return parse


def read_append(scanner: Scanner, mailbox: str | None = None, index: int = 0) -> c.Append:
    """Up to a message's literal, which ends `scanner`. `mailbox` is given for the second message and later ones."""
    if mailbox is None:
        mailbox = scanner.mailbox()
        scanner.space()
    flags: tuple[str, ...] = ()
    date = None
    if scanner.peek() == b"(":
        flags = scanner.flag_list()
        scanner.space()
    if scanner.peek() == b'"':
        date = scanner.date_time()
        scanner.space()
    utf8 = scanner.data[scanner.pos : scanner.pos + 6].upper() == b"UTF8 ("  # RFC 6855 section 4
    if utf8:
        scanner.pos += 6
    literal = scanner.literal_size()
    if literal is None:
        raise scanner.wrong("a message literal")
    size, binary = literal
    if utf8 and not binary:
        raise Wrong("UTF8 needs a literal8", scanner.pos)
    return c.Append(mailbox, size, flags, date, binary, utf8, index)


def _append(scanner: Scanner) -> c.Command:
    """An APPEND that ended without its literal: read as far as it goes, to say what is missing."""
    read_append(scanner)
    raise scanner.wrong("a message literal")


def _with_uid(parse: Callable[[Scanner, bool], c.Command], uid: bool) -> Parser:
    return lambda scanner: parse(scanner, uid)


# name: (parser, states, whether arguments follow)
COMMANDS: dict[bytes, tuple[Parser, State, bool]] = {
    b"CAPABILITY": (_plain(c.Capability()), _ANY, False),
    b"NOOP": (_plain(c.Noop()), _ANY, False),
    b"LOGOUT": (_plain(c.Logout()), _ANY, False),
    b"ID": (_id, _ANY, True),
    b"STARTTLS": (_plain(c.StartTls()), State.NOT_AUTHENTICATED, False),
    b"LOGIN": (_login, State.NOT_AUTHENTICATED, True),
    b"AUTHENTICATE": (_authenticate, State.NOT_AUTHENTICATED, True),
    b"ENABLE": (_enable, _LOGGED_IN, True),
    b"SELECT": (_select(False), _LOGGED_IN, True),
    b"EXAMINE": (_select(True), _LOGGED_IN, True),
    b"CREATE": (_create, _LOGGED_IN, True),
    b"DELETE": (_mailbox_command(c.Delete), _LOGGED_IN, True),
    b"RENAME": (_rename, _LOGGED_IN, True),
    b"SUBSCRIBE": (_mailbox_command(c.Subscribe), _LOGGED_IN, True),
    b"UNSUBSCRIBE": (_mailbox_command(c.Unsubscribe), _LOGGED_IN, True),
    b"LIST": (list_mailboxes, _LOGGED_IN, True),
    b"LSUB": (lsub, _LOGGED_IN, True),
    b"NAMESPACE": (_plain(c.Namespace()), _LOGGED_IN, False),
    b"STATUS": (status, _LOGGED_IN, True),
    b"APPEND": (_append, _LOGGED_IN, True),
    b"IDLE": (_plain(c.Idle()), _LOGGED_IN, False),
    b"GETQUOTA": (_quota, _LOGGED_IN, True),
    b"GETQUOTAROOT": (_mailbox_command(c.GetQuotaRoot), _LOGGED_IN, True),
    b"CHECK": (_plain(c.Check()), State.SELECTED, False),
    b"CLOSE": (_plain(c.Close()), State.SELECTED, False),
    b"UNSELECT": (_plain(c.Unselect()), State.SELECTED, False),
    b"EXPUNGE": (_plain(c.Expunge()), State.SELECTED, False),
    b"UID EXPUNGE": (_uid_expunge, State.SELECTED, True),
    b"SEARCH": (_with_uid(search, False), State.SELECTED, True),
    b"UID SEARCH": (_with_uid(search, True), State.SELECTED, True),
    b"FETCH": (_with_uid(fetch, False), State.SELECTED, True),
    b"UID FETCH": (_with_uid(fetch, True), State.SELECTED, True),
    b"STORE": (_with_uid(store, False), State.SELECTED, True),
    b"UID STORE": (_with_uid(store, True), State.SELECTED, True),
    b"COPY": (_transfer(c.Copy, False), State.SELECTED, True),
    b"UID COPY": (_transfer(c.Copy, True), State.SELECTED, True),
    b"MOVE": (_transfer(c.Move, False), State.SELECTED, True),
    b"UID MOVE": (_transfer(c.Move, True), State.SELECTED, True),
}

# tag = 1*<any ASTRING-CHAR except "+">, then the command's name
HEAD = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,100}) ((?:[Uu][Ii][Dd] )?[A-Za-z]{1,20})(?= |\Z|\r\n)')
TAG = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,100})(?= |\Z|\r\n)')

_STATE_ANSWERS = {
    State.NOT_AUTHENTICATED: "log in first",
    State.AUTHENTICATED: "select a mailbox first",
    State.SELECTED: "already logged in",
    State.LOGOUT: "logged out",
}


def find_command(name: bytes, state: State) -> tuple[Parser, bool]:
    """The parser for a command's name in upper case, and whether arguments follow. Raises Wrong."""
    found = COMMANDS.get(name)
    if found is None:
        raise Wrong("unknown command")
    parser, states, arguments = found
    if not states & state:
        if state is State.AUTHENTICATED and states is State.NOT_AUTHENTICATED:
            raise Wrong("already logged in")
        raise Wrong(_STATE_ANSWERS[state])
    return parser, arguments


def read_command(name: bytes, data: bytes, pos: int, state: State, utf8: bool) -> c.Command:
    """`data[pos:]` is what follows the command's name. Raises Wrong."""
    parser, arguments = find_command(name, state)
    scanner = Scanner(data, pos, utf8=utf8)
    if arguments:
        scanner.space()
    return parser(scanner)
