"""Every command of the grammar, read whole, octet by octet and in halves; and what is refused, by name and place."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from rookery.wire.imap import commands as c
from rookery.wire.imap import search as s
from rookery.wire.imap.fetch import Attribute, FetchBinary, FetchBinarySize, FetchSection, Section, SectionText
from rookery.wire.imap.search import Moment, Relation, SearchReturn
from rookery.wire.imap.sequence import SAVED, STAR, SequenceSet
from tests.wire.imap.imap_driver import new_engine, one, refused, three_ways

ONE = SequenceSet(((1, 1),))
ALL = SequenceSet(((1, STAR),))


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"CAPABILITY", c.Capability()),
        (b"noop", c.Noop()),
        (b"LOGOUT", c.Logout()),
        (b"ID NIL", c.Id(())),
        (b'ID ("name" "x" "version" NIL)', c.Id((("name", "x"), ("version", None)))),
        (b"STARTTLS", c.StartTls()),
        (b"LOGIN alice secret", c.Login(b"alice", b"secret")),
        (b'LOGIN "al ice" "s\\"e\\\\"', c.Login(b"al ice", b's"e\\')),
        (b"LOGIN {5+}\r\nalice {6+}\r\nse\r\net", c.Login(b"alice", b"se\r\net")),
        (b'LOGIN a]b "p\xc3\xa4ss"', c.Login(b"a]b", b"p\xc3\xa4ss")),
        (b"AUTHENTICATE plain", c.Authenticate("PLAIN", None)),
        (b"AUTHENTICATE PLAIN =", c.Authenticate("PLAIN", b"")),
        (b"AUTHENTICATE PLAIN AGEAYg==", c.Authenticate("PLAIN", b"\x00a\x00b")),
    ],
)
def test_before_login(line: bytes, command: c.Command) -> None:
    request = one(b"a.1 " + line, "new")
    assert (request.tag, request.command) == (b"a.1", command)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"ENABLE condstore UTF8=ACCEPT", c.Enable(("CONDSTORE", "UTF8=ACCEPT"))),
        (b"SELECT inbox", c.Select("INBOX", False)),
        (b'EXAMINE "Entw&APw-rfe"', c.Select("Entwürfe", True)),
        (b"SELECT {5+}\r\nINBOX (CONDSTORE)", c.Select("INBOX", False, True)),
        (b"SELECT x (QRESYNC (67 90 41:211,214 (1,3 5,9)))", c.Select("x", False, False, c.Qresync(
            67, 90, SequenceSet(((41, 211), (214, 214))),
            (SequenceSet(((1, 1), (3, 3))), SequenceSet(((5, 5), (9, 9))))))),
        (b"SELECT x (QRESYNC (67 90))", c.Select("x", False, False, c.Qresync(67, 90))),
        (b"CREATE a/b/", c.Create("a/b")),
        (b'CREATE Post (USE (\\Sent \\Junk))', c.Create("Post", ("\\Sent", "\\Junk"))),
        (b"DELETE a", c.Delete("a")),
        (b"RENAME a Inbox", c.Rename("a", "INBOX")),
        (b"SUBSCRIBE a", c.Subscribe("a")),
        (b"UNSUBSCRIBE a", c.Unsubscribe("a")),
        (b'LIST "" *', c.List("", ("*",))),
        (b'LIST "" ""', c.List("", ("",))),
        (b'LIST "" "%/%"', c.List("", ("%/%",))),
        (b'LIST (SUBSCRIBED RECURSIVEMATCH) "a/" (b% "c d") RETURN (CHILDREN STATUS (UNSEEN MESSAGES))', c.List(
            "a/", ("b%", "c d"), frozenset((c.ListSelect.SUBSCRIBED, c.ListSelect.RECURSIVEMATCH)),
            frozenset((c.ListReturn.CHILDREN, c.ListReturn.STATUS)),
            (c.StatusItem.UNSEEN, c.StatusItem.MESSAGES), True)),
        (b'LIST () "" x', c.List("", ("x",), extended=True)),
        (b'LIST (SPECIAL-USE) "" * RETURN ()', c.List("", ("*",), frozenset((c.ListSelect.SPECIAL_USE,)),
                                                             extended=True)),
        (b'LSUB "" %', c.Lsub("", "%")),
        (b"NAMESPACE", c.Namespace()),
        (b"STATUS a (MESSAGES SIZE)", c.Status("a", (c.StatusItem.MESSAGES, c.StatusItem.SIZE))),
        (b"IDLE", c.Idle()),
        (b'GETQUOTA ""', c.GetQuota("")),
        (b"GETQUOTAROOT INBOX", c.GetQuotaRoot("INBOX")),
    ],
)  # fmt: skip
def test_authenticated(line: bytes, command: c.Command) -> None:
    assert one(b"a " + line, "authenticated").command == command


HEADER_FIELDS = FetchSection(
    Section((), SectionText.HEADER_FIELDS, (b"from", b"x-y")), True, (5, 10), b"BODY[HEADER.FIELDS (FROM X-Y)]<5>"
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"CHECK", c.Check()),
        (b"CLOSE", c.Close()),
        (b"UNSELECT", c.Unselect()),
        (b"EXPUNGE", c.Expunge()),
        (b"UID EXPUNGE 1:*", c.Expunge(ALL)),
        (b"FETCH 1:* FAST", c.Fetch(ALL, (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE))),
        (b"FETCH $ flags", c.Fetch(SAVED, (Attribute.FLAGS,))),
        (b"UID FETCH 1 (UID FLAGS)", c.Fetch(ONE, (Attribute.UID, Attribute.FLAGS), True)),
        (b"UID FETCH 1 FLAGS", c.Fetch(ONE, (Attribute.UID, Attribute.FLAGS), True)),
        (b"FETCH 1 BODY", c.Fetch(ONE, (Attribute.BODY,))),
        (b"FETCH 1 (BODY[] BODY)", c.Fetch(ONE, (FetchSection(Section(), False, None, b"BODY[]"), Attribute.BODY))),
        (b"FETCH 1 BODY.PEEK[HEADER.FIELDS (From X-Y)]<5.10>", c.Fetch(ONE, (HEADER_FIELDS,))),
        (b"FETCH 1 BODY.PEEK[HEADER.FIELDS ({4+}\r\nFrom \"X-Y\")]<5.10>", c.Fetch(ONE, (HEADER_FIELDS,))),
        (b"FETCH 1 body[1.2.mime]", c.Fetch(ONE, (
            FetchSection(Section((1, 2), SectionText.MIME), False, None, b"BODY[1.2.MIME]"),))),
        (b"FETCH 1 BODY[TEXT]", c.Fetch(ONE, (
            FetchSection(Section((), SectionText.TEXT), False, None, b"BODY[TEXT]"),))),
        (b"FETCH 1 BODY[1]", c.Fetch(ONE, (FetchSection(Section((1,)), False, None, b"BODY[1]"),))),
        (b"FETCH 1 RFC822.HEADER", c.Fetch(ONE, (
            FetchSection(Section((), SectionText.HEADER), True, None, b"RFC822.HEADER"),))),
        (b"FETCH 1 (BINARY.PEEK[1]<0.5> BINARY.SIZE[2])", c.Fetch(ONE, (
            FetchBinary((1,), True, (0, 5), b"BINARY[1]<0>"), FetchBinarySize((2,), b"BINARY.SIZE[2]")))),
        (b"FETCH 1 (MODSEQ SAVEDATE EMAILID THREADID) (CHANGEDSINCE 9)", c.Fetch(ONE, (
            Attribute.MODSEQ, Attribute.SAVEDATE, Attribute.EMAILID, Attribute.THREADID), False, 9)),
        (b"UID FETCH 1 FLAGS (CHANGEDSINCE 9 VANISHED)", c.Fetch(ONE, (Attribute.UID, Attribute.FLAGS), True, 9, True)),
        (b"STORE 1 FLAGS ()", c.Store(ONE, c.StoreMode.REPLACE, ())),
        (b"STORE 1 +flags.silent (\\seen $Junk)", c.Store(ONE, c.StoreMode.ADD, ("\\Seen", "$Junk"), True)),
        (b"UID STORE 1 -FLAGS \\DELETED \\Draft", c.Store(
            ONE, c.StoreMode.REMOVE, ("\\Deleted", "\\Draft"), False, True)),
        (b"STORE 1 (UNCHANGEDSINCE 5) FLAGS x", c.Store(ONE, c.StoreMode.REPLACE, ("x",), False, False, 5)),
        (b"COPY 1 a", c.Copy(ONE, "a")),
        (b"UID COPY 1 a", c.Copy(ONE, "a", True)),
        (b"MOVE 1 a", c.Move(ONE, "a")),
        (b"UID MOVE 1 {1+}\r\na", c.Move(ONE, "a", True)),
    ],
)  # fmt: skip
def test_selected(line: bytes, command: c.Command) -> None:
    assert one(b"a " + line).command == command


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        (b"ALL", s.All()),
        (b"1:3,* UNSEEN", s.And((s.InSequence(SequenceSet(((1, 3), (STAR, STAR)))), s.HasFlag("\\Seen", False)))),
        (b"$", s.InSequence(SAVED)),
        (b"UID 7", s.InUids(SequenceSet(((7, 7),)))),
        (b"NEW", s.And((s.Recent(), s.HasFlag("\\Seen", False)))),
        (b"OLD", s.Not(s.Recent())),
        (b"KEYWORD $Junk UNKEYWORD x", s.And((s.HasFlag("$Junk", True), s.HasFlag("x", False)))),
        (
            b'OR FROM a NOT (TO b CC "c d")',
            s.Or(s.HeaderHas("from", "a"), s.Not(s.And((s.HeaderHas("to", "b"), s.HeaderHas("cc", "c d"))))),
        ),
        (b'HEADER X-Spam ""', s.HeaderHas("x-spam", "")),
        (b"SUBJECT {3+}\r\na\r\n", s.HeaderHas("subject", "a\r\n")),
        (b"BODY x TEXT y BCC z", s.And((s.BodyHas("x"), s.TextHas("y"), s.HeaderHas("bcc", "z")))),
        (b"SINCE 1-Feb-1994", s.Dated(Moment.INTERNAL, Relation.SINCE, date(1994, 2, 1))),
        (b'SENTBEFORE "01-Feb-1994"', s.Dated(Moment.SENT, Relation.BEFORE, date(1994, 2, 1))),
        (b"SAVEDON 1-Feb-1994", s.Dated(Moment.SAVED, Relation.ON, date(1994, 2, 1))),
        (b"LARGER 5 SMALLER 6", s.And((s.Larger(5), s.Smaller(6)))),
        (b"OLDER 60 YOUNGER 61", s.And((s.Aged(60, False), s.Aged(61, True)))),
        (b'MODSEQ "/flags/\\\\draft" all 620162338', s.ModifiedSince(620162338)),
        (b"MODSEQ 7", s.ModifiedSince(7)),
        (b"EMAILID M1 THREADID T1", s.And((s.HasEmailId("M1"), s.HasThreadId("T1")))),
        (b"(ALL)", s.All()),
        ("SUBJECT {6+}\r\nGrüß".encode(), s.HeaderHas("subject", "Grüß")),
    ],
)
def test_search_keys(keys: bytes, key: s.SearchKey) -> None:
    assert one(b"a SEARCH " + keys).command == c.Search(key)


def test_search_results_and_charsets() -> None:
    assert one(b"a UID SEARCH RETURN () ALL").command == c.Search(s.All(), True, frozenset((SearchReturn.ALL,)))
    assert one(b"a SEARCH RETURN (MIN COUNT SAVE) ALL").command == c.Search(
        s.All(), False, frozenset((SearchReturn.MIN, SearchReturn.COUNT, SearchReturn.SAVE))
    )
    assert one(b"a SEARCH CHARSET iso-8859-1 TEXT {1+}\r\n\xe4").command == c.Search(
        s.TextHas("ä"), charset="ISO-8859-1"
    )
    assert refused(b"a SEARCH CHARSET x-none ALL").answer.startswith(b"a NO [BADCHARSET (UTF-8 US-ASCII)] ")
    assert refused(b"a SEARCH CHARSET utf-8 TEXT {1+}\r\n\xe4").answer.startswith(b"a BAD ")
    assert refused(b"a SEARCH CHARSET us-ascii TEXT {1+}\r\n\xe4").answer.startswith(b"a BAD ")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"", b"* BAD expected a tag and a command"),
        (b"a", b"a BAD expected a tag and a command"),
        (b"a  NOOP", b"a BAD expected a tag and a command"),
        (b"+ NOOP", b"* BAD expected a tag and a command"),
        (b"a BOGUS", b"a BAD unknown command"),
        (b"a NOOP x", b"a BAD NOOP: expected the end of the command (at octet 7)"),
        (b"a LOGIN a b", b"a BAD LOGIN: already logged in"),
        (b"a STARTTLS", b"a BAD STARTTLS: already logged in"),
        (b"a FETCH 1 ()", b"a BAD FETCH: expected a fetch item (at octet 12)"),
        (b"a FETCH 0 FLAGS", b"a BAD FETCH: not a sequence set (at octet 9)"),
        (b"a FETCH 4294967296 FLAGS", b"a BAD FETCH: a number of more than 32 bits in a sequence set (at octet 9)"),
        (b"a FETCH 1 BODY[MIME]", b"a BAD FETCH: MIME needs a part number (at octet 16)"),
        (b"a FETCH 1 BODY[]<1.0>", b"a BAD FETCH: a partial range is out of range (at octet 17)"),
        (b"a FETCH 1 FLAGS (VANISHED)", b"a BAD FETCH: VANISHED needs UID FETCH and CHANGEDSINCE"),
        (b"a STORE 1 FLAGS \\Foo", b"a BAD STORE: no such system flag (at octet 17)"),
        (b"a STORE 1 *FLAGS x", b"a BAD STORE: expected FLAGS, +FLAGS or -FLAGS (at octet 11)"),
        (b"a SEARCH FOO", b"a BAD SEARCH: no such search key (at octet 10)"),
        (b"a SEARCH (ALL", b"a BAD SEARCH: expected a space (at octet 14)"),
        (b"a SEARCH ON 31-Feb-2020", b"a BAD SEARCH: not a date: expected d-Mon-yyyy (at octet 13)"),
        (b'a SELECT "unfinished', b"a BAD SELECT: expected a mailbox name (at octet 10)"),
        (b"a SELECT caf\xc3\xa9", b"a BAD SELECT: expected a space (at octet 13)"),
        (b'a SELECT "caf\xc3\xa9"', 
         b"a NO [CANNOT] SELECT: the mailbox name is 8-bit octets in modified UTF-7 (at octet 10)"),
        (b"a SELECT a&b", b"a NO [CANNOT] SELECT: the mailbox name is not well-formed modified UTF-7 (at octet 10)"),
        (b"a SELECT {1+}\r\n\x00", b"a BAD SELECT: a literal with a NUL octet (at octet 10)"),
        (b'a LIST (RECURSIVEMATCH) "" *', b"a BAD LIST: RECURSIVEMATCH needs another selection option (at octet 9)"),
        (b"a APPEND INBOX", b"a BAD APPEND: expected a space (at octet 15)"),
        (b"a APPEND INBOX (\\Seen) x", b"a BAD APPEND: expected a message literal (at octet 24)"),
        (b"a ID (", b"a BAD ID: expected a field name (at octet 7)"),
        (b"a\x00 NOOP", b"* BAD expected a tag and a command"),
        (b"a NOOP\r", b"a BAD expected a tag and a command"),
    ],
)  # fmt: skip
def test_refusals_say_what_and_where(line: bytes, answer: bytes) -> None:
    malformed = refused(line)
    assert malformed.answer == answer + b"\r\n"
    assert not malformed.close


def test_commands_wait_for_their_state() -> None:
    assert refused(b"a FETCH 1 FLAGS", "authenticated").answer == b"a BAD FETCH: select a mailbox first\r\n"
    assert refused(b"a SELECT INBOX", "new").answer == b"a BAD SELECT: log in first\r\n"


def test_utf8_names_for_those_who_enabled_it() -> None:
    engine = new_engine()
    engine.utf8 = True
    (event,) = engine.receive('a CREATE "Entwürfe & mehr"\r\n'.encode())
    assert event.command == c.Create("Entwürfe & mehr")  # type: ignore[union-attr]
    (event,) = engine.receive(b'b CREATE "caf\xe9"\r\n')
    assert event.answer.startswith(b"b BAD ")  # type: ignore[union-attr]


def test_append_in_all_its_parts() -> None:
    events, output = three_ways(
        b'a APPEND {4+}\r\nSent (\\Seen x) " 7-Jul-1996 02:44:25 -0700" {3+}\r\nabc\r\nb NOOP\r\n', "authenticated"
    )
    zone = timezone(timedelta(hours=-7))
    start, chunk, _, done, noop = events
    assert start.append == c.Append("Sent", 3, ("\\Seen", "x"), datetime(1996, 7, 7, 2, 44, 25, tzinfo=zone))  # type: ignore[union-attr]
    assert chunk.data == b"abc"  # type: ignore[union-attr]
    assert (done.command, noop.command) == (c.AppendDone(), c.Noop())  # type: ignore[union-attr]
    assert output == b""


def test_append_of_several_messages_and_of_utf8() -> None:
    events, output = three_ways(b"a APPEND x {1}\r\na (\\Seen) UTF8 (~{2}\r\nbc)\r\n", "authenticated")
    appends = [event.append for event in events if hasattr(event, "append")]
    assert appends == [
        c.Append("x", 1),
        c.Append("x", 2, ("\\Seen",), None, binary=True, utf8=True, index=1),
    ]
    assert events[-1].command == c.AppendDone()  # type: ignore[union-attr]
    assert output == b"+ OK\r\n+ OK\r\n"


def test_dates_keep_their_zone() -> None:
    events, _ = three_ways(b'a APPEND x "01-Jan-2020 00:00:00 +0000" {0+}\r\n\r\n', "authenticated")
    assert events[0].append.date == datetime(2020, 1, 1, tzinfo=UTC)  # type: ignore[union-attr]
