"""The SMTP server engine: commands, states and replies, whole and in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.engine import Wants
from rookery.wire.smtp.events import (
    Auth,
    BodyChunk,
    BodyEnd,
    BodyFailed,
    BodyStart,
    Mail,
    Malformed,
    Rcpt,
    Reset,
    SaslAnswer,
)
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.states import Limits
from tests.wire.smtp.dialogue import Dialogue, stuffed

MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..two\r\n\r\nend\r\n"
SESSION = (
    b"EHLO client.test\r\nMAIL FROM:<a@client.test> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<b@mx.test>\r\n"
    b"RCPT TO:<Postmaster>\r\nDATA\r\n"
    + stuffed(MESSAGE)
    + b'MAIL FROM:<>\r\nRCPT TO:<"a b"@mx.test>\r\nBDAT 7\r\nA: b\r\n\rBDAT 3 LAST\r\n\nxx'
    b"RSET\r\nNOOP x\r\nVRFY someone\r\nEXPN list\r\nHELP\r\nNONSENSE\r\nQUIT\r\n"
)
CODES = [250, 250, 250, 250, 354, 250, 250, 250, 250, 250, 250, 250, 252, 502, 214, 500, 221]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(SESSION)])
def test_a_session_in_pieces_of_any_size(size: int) -> None:
    dialogue = Dialogue()
    dialogue.pieces(SESSION, size)
    assert dialogue.codes == CODES
    assert dialogue.bodies == [MESSAGE, b"A: b\r\n\r\nxx"]
    assert dialogue.engine.wants is Wants.CLOSE
    envelopes = [event for event in dialogue.events if isinstance(event, Mail | Rcpt)]
    assert envelopes == [
        Mail("a@client.test", size=100, eight_bit=True),
        Rcpt("b@mx.test"),
        Rcpt("postmaster"),
        Mail(""),
        Rcpt('"a b"@mx.test'),
    ]


def test_the_announcement_lists_what_is_offered() -> None:
    dialogue = Dialogue(Offer(size=5, starttls=True, auth=("PLAIN",), dsn=True))
    assert dialogue.feed(b"EHLO [192.0.2.1]\r\n").splitlines() == [
        b"250-mx.test",
        b"250-PIPELINING",
        b"250-SIZE 5",
        b"250-8BITMIME",
        b"250-ENHANCEDSTATUSCODES",
        b"250-STARTTLS",
        b"250-AUTH PLAIN",
        b"250-SMTPUTF8",
        b"250-CHUNKING",
        b"250 DSN",
    ]
    assert dialogue.engine.extended
    assert dialogue.feed(b"HELO client.test\r\n") == b"250 mx.test\r\n"
    assert not dialogue.engine.extended


@pytest.mark.parametrize(
    ("before", "line", "code"),
    [
        (b"", b"MAIL FROM:<a@b.test>", 503),
        (b"", b"EHLO", 501),
        (b"", b"EHLO bad name", 501),
        (b"", b"EHLO a\xffb", 501),
        (b"", b"LHLO client.test", 500),
        (b"", b"RSET now", 501),
        (b"", b"MAILX FROM:<a@b.test>", 500),
        (b"", b"DATA", 503),
        (b"EHLO c.test\r\n", b"RCPT TO:<a@b.test>", 503),
        (b"EHLO c.test\r\n", b"MAIL TO:<a@b.test>", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:a@b.test", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test> SIZE=x", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test> SIZE=100001", 552),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test> FOO=1", 555),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test> SIZE=1 SIZE=2", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test> BODY=BINARYMIME", 501),
        (b"EHLO c.test\r\n", "MAIL FROM:<ä@b.test>".encode(), 553),
        (b"EHLO c.test\r\n", "MAIL FROM:<ä@b.test> SMTPUTF8".encode(), 250),
        (b"EHLO c.test\r\n", b"MAIL FROM:<\xff@b.test> SMTPUTF8", 501),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a\0b@b.test>", 500),
        (b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test>\rX", 500),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"MAIL FROM:<a@b.test>", 503),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"RCPT TO:<>", 501),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"RCPT TO:<somebody>", 501),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", "RCPT TO:<ö@b.test>".encode(), 553),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"RCPT TO:<x@b.test> NOTIFY=NEVER,DELAY", 501),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"RCPT TO:<x@b.test> ORCPT=rfc822;a+zz", 501),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"RCPT TO:<x@b.test> SIZE=1", 555),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"DATA", 503),
        (b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", b"DATA now", 501),
        (b"EHLO c.test\r\n", b"STARTTLS", 502),
        (b"EHLO c.test\r\n", b"AUTH PLAIN", 502),
    ],
)
def test_one_command(before: bytes, line: bytes, code: int) -> None:
    dialogue = Dialogue()
    dialogue.feed(before)
    assert dialogue.feed(line + b"\r\n")[:3] == str(code).encode()
    assert dialogue.feed(b"NOOP\r\n")[:3] == b"250"


def test_dsn_parameters_and_delivery_ids_are_decoded() -> None:
    dialogue = Dialogue()
    dialogue.feed(b"EHLO c.test\r\nMAIL FROM:<a@b.test> RET=HDRS ENVID=x+2By\r\n")
    dialogue.feed(
        b"RCPT TO:<c@d.test> notify=success,failure ORCPT=rfc822;c+2B1@d.test XDELIVERY=0abc/+C3+A4@d.test\r\n"
    )
    assert dialogue.events == [
        Mail("a@b.test", envelope_id="x+y", headers_only=True),
        Rcpt("c@d.test", ("SUCCESS", "FAILURE"), "rfc822;c+1@d.test", "0abc/ä@d.test"),
    ]
    outside = Dialogue(Offer())
    outside.feed(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n")
    assert outside.feed(b"RCPT TO:<c@d.test> XDELIVERY=0abc/x\r\n")[:3] == b"555"
    assert outside.feed(b"RCPT TO:<c@d.test> NOTIFY=NEVER\r\n")[:3] == b"555"


def test_source_routes_are_read_past() -> None:
    dialogue = Dialogue()
    dialogue.feed(b"EHLO c.test\r\nMAIL FROM:<@x.test,@y.test:a@b.test>\r\nRCPT TO: <@relay.test:c@d.test>\r\n")
    assert dialogue.events == [Mail("a@b.test"), Rcpt("c@d.test")]


def test_lines_that_are_too_long_are_skipped_and_endless_ones_end_the_connection() -> None:
    dialogue = Dialogue(limits=Limits(line=100, skip=1000))
    assert dialogue.feed(b"NOOP " + b"x" * 200 + b"\r\nNOOP\r\n") == (b"500 5.5.6 Line too long\r\n250 2.0.0 OK\r\n")
    for _ in range(20):
        dialogue.feed(b"y" * 99)
    assert dialogue.engine.wants is Wants.CLOSE
    assert dialogue.said.endswith(b"421 4.7.0 Too many errors\r\n")


def test_too_many_errors_and_too_many_idle_commands_end_the_connection() -> None:
    dialogue = Dialogue(limits=Limits(errors=3))
    dialogue.feed(b"FOO\r\n" * 10)
    assert dialogue.codes == [500, 500, 500, 500, 421]
    assert dialogue.engine.wants is Wants.CLOSE
    dialogue = Dialogue(limits=Limits(idle_commands=5))
    dialogue.feed(b"NOOP\r\n" * 10)
    assert dialogue.codes == [250] * 6 + [421]


def test_a_message_starts_the_count_of_idle_commands_again() -> None:
    dialogue = Dialogue(limits=Limits(idle_commands=5))
    dialogue.feed(b"EHLO c.test\r\n")
    for _ in range(5):
        dialogue.feed(b"NOOP\r\nNOOP\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n.\r\n")
    assert dialogue.engine.wants is Wants.MORE


def test_reset_and_a_new_greeting_end_the_transaction() -> None:
    dialogue = Dialogue().envelope()
    dialogue.feed(b"RSET\r\nDATA\r\n")
    assert dialogue.events == [Reset(), Malformed("DATA out of place")]
    dialogue = Dialogue().envelope()
    dialogue.feed(b"EHLO c.test\r\nRSET\r\n")
    assert dialogue.events == [Reset()]


# --- messages


def test_a_refused_data_takes_no_body() -> None:
    dialogue = Dialogue(refuse=lambda event: b"451 4.3.0 no\r\n" if isinstance(event, BodyStart) else b"").envelope()
    assert dialogue.feed(b"DATA\r\nNOOP\r\n") == b"451 4.3.0 no\r\n250 2.0.0 OK\r\n"


def test_a_refused_chunk_is_read_past() -> None:
    dialogue = Dialogue(refuse=lambda event: b"451 4.3.0 no\r\n" if isinstance(event, BodyStart) else b"").envelope()
    assert dialogue.feed(b"BDAT 6\r\nQUIT\r\nNOOP\r\n") == b"451 4.3.0 no\r\n250 2.0.0 OK\r\n"
    assert dialogue.feed(b"BDAT 6 LAST\r\nQUIT\r\n")[:3] == b"503"
    assert dialogue.engine.wants is Wants.MORE


def test_an_empty_last_chunk_ends_the_message() -> None:
    dialogue = Dialogue().envelope()
    assert dialogue.feed(b"BDAT 0 LAST\r\n") == b"250 2.0.0 OK\r\n"
    assert dialogue.bodies == [b""]
    dialogue = Dialogue().envelope()
    dialogue.feed(b"BDAT 4\r\na\r\nbRCPT TO:<c@d.test>\r\nDATA\r\nBDAT 3 LAST\r\nc\r\n")
    assert dialogue.codes == [250, 503, 503, 250]
    assert dialogue.bodies == [b"a\r\nbc\r\n"]


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 5 FIRST", b"BDAT 1 LAST 2"])
def test_bdat_that_cannot_be_understood_ends_the_connection(line: bytes) -> None:
    dialogue = Dialogue().envelope()
    assert dialogue.feed(line + b"\r\nMAIL FROM:<>\r\n")[:3] == b"501"
    assert dialogue.engine.wants is Wants.CLOSE


def test_a_message_over_the_limit_is_read_past_and_refused() -> None:
    dialogue = Dialogue(Offer(size=1000)).envelope()
    dialogue.feed(b"DATA\r\n" + b"x" * 600)
    assert [type(event) for event in dialogue.events] == [BodyStart, BodyChunk]
    dialogue.feed(b"y" * 600 + b"\r\n" + b"z" * 600 + b"\r\n.\r\n")
    assert isinstance(dialogue.events[-1], BodyFailed)
    assert dialogue.codes == [354, 552]
    assert dialogue.envelope(b"RSET").feed(b"DATA\r\n.\r\n").endswith(b"250 2.0.0 OK\r\n")


def test_a_message_far_over_the_limit_ends_the_connection() -> None:
    dialogue = Dialogue(Offer(size=1000), limits=Limits(swallow=5000)).envelope()
    dialogue.feed(b"DATA\r\n")
    for _ in range(10):
        dialogue.feed(b"x" * 998 + b"\r\n")
    assert dialogue.codes == [354, 552]
    assert dialogue.engine.wants is Wants.CLOSE


def test_the_session_can_give_up_a_body() -> None:
    dialogue = Dialogue().envelope()
    dialogue.feed(b"DATA\r\nabc\r\n")
    dialogue.engine.fail_body(b"452 4.3.1 full\r\n")
    dialogue.feed(b"more\r\n")
    assert dialogue.feed(b"and\r\n.\r\nNOOP\r\n") == b"452 4.3.1 full\r\n250 2.0.0 OK\r\n"
    assert sum(isinstance(event, BodyChunk) for event in dialogue.events) == 1


def test_lmtp_answers_each_recipient() -> None:
    dialogue = Dialogue(lmtp=True)
    assert dialogue.feed(b"EHLO c.test\r\n")[:3] == b"500"
    dialogue.feed(b"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\n")
    assert dialogue.feed(b"DATA\r\nx\r\n.\r\n").count(b"250 ") == 2
    dialogue.feed(b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\n")
    assert dialogue.feed(b"DATA\r\nx\ny\r\n.\r\n").count(b"550 ") == 2
    dialogue.feed(b"MAIL FROM:<>\r\n")
    assert dialogue.feed(b"DATA\r\n")[:3] == b"503"


def test_lmtp_answers_may_differ() -> None:
    dialogue = Dialogue(lmtp=True)
    dialogue.feed(b"LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\nDATA\r\n")
    assert dialogue.engine.receive(b".\r\n") == [BodyEnd()]
    dialogue.engine.answer_each([b"250 2.0.0 a\r\n", b"452 4.2.2 c\r\n"])
    assert dialogue.engine.outgoing() == b"250 2.0.0 a\r\n452 4.2.2 c\r\n"
    assert dialogue.feed(b"DATA\r\n")[:3] == b"503"


# --- TLS and AUTH


def test_after_tls_everything_said_before_is_forgotten() -> None:
    dialogue = Dialogue(Offer(starttls=True, auth_over_tls=("PLAIN",)), offer_tls=Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\n")
    assert b"AUTH" not in dialogue.said
    assert dialogue.feed(b"AUTH PLAIN\r\n")[:3] == b"538"
    assert dialogue.feed(b"AUTH FOO\r\n")[:3] == b"504"
    dialogue.feed(b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\n")
    assert dialogue.feed(b"STARTTLS\r\n")[:3] == b"220"
    assert dialogue.engine.wants is Wants.START_TLS
    dialogue.engine.tls_started()
    assert dialogue.feed(b"MAIL FROM:<>\r\n")[:3] == b"503"
    assert b"AUTH PLAIN" in dialogue.feed(b"EHLO c.test\r\n")
    assert dialogue.feed(b"STARTTLS\r\n")[:3] == b"503"
    assert dialogue.feed(b"DATA\r\n")[:3] == b"503"


def test_auth_with_and_without_initial_response() -> None:
    dialogue = Dialogue(Offer(auth=("PLAIN", "LOGIN")))
    assert dialogue.feed(b"AUTH PLAIN\r\n")[:3] == b"503"
    dialogue.feed(b"EHLO c.test\r\n")
    assert dialogue.feed(b"auth plain\r\n") == b"334 Z28gb24=\r\n"
    assert dialogue.feed(b"AGEAYg==\r\n") == b"235 2.7.0 Authenticated\r\n"
    assert dialogue.events == [Malformed("AUTH out of place"), Auth("PLAIN", None), SaslAnswer(b"\0a\0b")]
    assert dialogue.feed(b"AUTH PLAIN\r\n")[:3] == b"503"
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\nAUTH PLAIN =\r\n")
    assert dialogue.events == [Auth("PLAIN", b"")]


@pytest.mark.parametrize("line", [b"*", b"not base64!", b"QQ", b"Q\0=="])
def test_auth_given_up(line: bytes) -> None:
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\nAUTH PLAIN\r\n")
    assert dialogue.feed(line + b"\r\nNOOP\r\n").splitlines()[-2][:3] == b"501"
    assert dialogue.events[1] == SaslAnswer(None)
    assert dialogue.feed(b"AUTH PLAIN not*base64\r\n")[:3] == b"501"


def test_long_lines_are_for_auth_alone() -> None:
    long = b"QUJD" * 2500
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\n")
    assert dialogue.feed(b"AUTH PLAIN " + long + b"\r\n")[:3] == b"235"
    dialogue = Dialogue(Offer(auth=("PLAIN",)))
    dialogue.feed(b"EHLO c.test\r\nAUTH PLAIN\r\n")
    assert dialogue.feed(long * 2 + b"\r\n")[:3] == b"500"
    assert dialogue.feed(b"NOOP " + long + b"\r\n")[:3] == b"500"


# --- anything at all


LINES = st.sampled_from(
    [b"EHLO c.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b"DATA", b".", b"BDAT 3", b"BDAT 2 LAST", b"RSET",
     b"NOOP", b"x" * 30, b"AUTH PLAIN", b"*", b"QUIT", b"..", b"STARTTLS", b"", b"a\0b", b"a\rb"]
)  # fmt: skip
SCRIPTS = st.lists(
    st.tuples(LINES | st.binary(max_size=40), st.sampled_from([b"\r\n", b"\n", b"\r", b""])), max_size=30
).map(lambda lines: b"".join(line + end for line, end in lines))


@given(script=SCRIPTS, size=st.integers(1, 50), lmtp=st.booleans())
def test_pieces_never_matter_and_nothing_raises(script: bytes, size: int, lmtp: bool) -> None:
    offer = Offer(size=60, auth=("PLAIN",))
    limits = Limits(line=64, auth_line=128, skip=256, errors=8, swallow=200)
    if lmtp:
        script = script.replace(b"EHLO", b"LHLO")
    whole, pieces = (Dialogue(offer, lmtp=lmtp, limits=limits) for _ in range(2))
    whole.feed(script)
    for at in range(0, len(script), size):
        if pieces.engine.wants is Wants.MORE:
            pieces.feed(script[at : at + size])
    if not {BodyFailed, Malformed}.intersection(map(type, whole.events)):  # how much is read past depends on the pieces
        assert pieces.bodies == whole.bodies
        assert pieces.said == whole.said
    for line in whole.said.splitlines():
        assert line[:3].isdigit()
