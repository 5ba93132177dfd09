"""The sending engine as a function of octets: what it writes, and what outcomes it tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rookery.wire.engine import Wants
from rookery.wire.smtp_client.commands import Unsendable, xtext
from rookery.wire.smtp_client.engine import SmtpClient, Stage
from rookery.wire.smtp_client.events import (
    BodyWanted,
    Broken,
    Finished,
    Greeted,
    LoggedIn,
    LoginRefused,
    Mail,
    MailRecipient,
    Ready,
    Refused,
    TlsRefused,
    TlsWanted,
)
from rookery.wire.smtp_client.replies import Reply

FULL = b"250-mx.test hello\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n"
BARE = b"250 mx.test\r\n"
LOCAL = b"250-here\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 XDELIVERY\r\n"


def ready(hello: bytes = FULL, *, lmtp: bool = False) -> SmtpClient:
    client = SmtpClient("node.test", lmtp=lmtp)
    assert isinstance(client.receive(b"220 hi\r\n")[0], Greeted)
    client.hello()
    assert client.outgoing() == (b"LHLO node.test\r\n" if lmtp else b"EHLO node.test\r\n")
    assert isinstance(client.receive(hello)[0], Ready)
    return client


def mail(*recipients: str, whole: bytes | None = None, **facts: bool) -> Mail:
    return Mail("s@a.test", tuple(MailRecipient(r, delivery=f"0001/{r}") for r in recipients), 5, whole=whole, **facts)


def codes(event: object) -> list[int]:
    assert isinstance(event, Finished)
    return [reply.code for reply in event.replies]


# --- the way to a ready connection


def test_extensions() -> None:
    extensions = ready().extensions
    assert (extensions.pipelining, extensions.size, extensions.eight_bit, extensions.smtputf8) == (
        True,
        1000,
        True,
        True,
    )
    assert extensions.starttls
    assert not extensions.chunking
    assert extensions.greeting == "mx.test"


def test_helo_where_ehlo_is_unknown() -> None:
    client = SmtpClient("node.test")
    client.receive(b"220 old\r\n")
    client.hello()
    client.outgoing()
    assert client.receive(b"502 what?\r\n") == []
    assert client.outgoing() == b"HELO node.test\r\n"
    (event,) = client.receive(b"250 fine\r\n")
    assert isinstance(event, Ready)
    assert not event.extensions.pipelining


@pytest.mark.parametrize("code", [421, 554, 450])
def test_refused_greeting(code: int) -> None:
    events = SmtpClient("n").receive(b"%d go away\r\n" % code)
    assert isinstance(events[0], Refused)
    assert events[0].reply.code == code


def test_tls() -> None:
    client = ready()
    client.start_tls()
    assert client.outgoing() == b"STARTTLS\r\n"
    assert client.receive(b"220 go\r\n") == [TlsWanted()]
    assert client.wants is Wants.START_TLS
    client.tls_started()
    assert client.wants is Wants.MORE
    assert not client.extensions.pipelining
    client.hello()
    assert client.outgoing() == b"EHLO node.test\r\n"


def test_tls_injection_is_left_over() -> None:
    client = ready()
    client.start_tls()
    client.receive(b"220 go\r\n250 inj")
    assert client.leftover() == b"250 inj"
    client = ready()
    client.start_tls()
    events = client.receive(b"220 go\r\n250 injected\r\n")
    assert isinstance(events[-1], Broken)


def test_tls_refused() -> None:
    client = ready()
    client.start_tls()
    (event,) = client.receive(b"454 not now\r\n")
    assert isinstance(event, TlsRefused)
    assert client.wants is Wants.MORE


def test_login_plain_and_login() -> None:
    client = ready(b"250-x\r\n250 AUTH LOGIN PLAIN\r\n")
    client.login("me", "secret")
    assert client.outgoing() == b"AUTH PLAIN AG1lAHNlY3JldA==\r\n"
    assert client.receive(b"235 ok\r\n") == [LoggedIn()]
    client = ready(b"250-x\r\n250 AUTH=LOGIN\r\n")
    client.login("me", "secret")
    assert client.outgoing() == b"AUTH LOGIN\r\n"
    client.receive(b"334 VXNlcm5hbWU6\r\n")
    assert client.outgoing() == b"bWU=\r\n"
    client.receive(b"334 UGFzc3dvcmQ6\r\n")
    assert client.outgoing() == b"c2VjcmV0\r\n"
    (event,) = client.receive(b"535 no\r\n")
    assert isinstance(event, LoginRefused)


# --- transactions


def test_pipelined_data() -> None:
    client = ready()
    client.send(mail("a@b.test", "c@d.test", eight_bit=True))
    assert client.outgoing() == (
        b"MAIL FROM:<s@a.test> SIZE=5 BODY=8BITMIME\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    )
    (event,) = client.receive(b"250 ok\r\n250 ok\r\n550 5.1.1 who\r\n354 go\r\n")
    assert isinstance(event, BodyWanted)
    assert event.accepted == (0,)
    assert client.stage is Stage.BODY
    client.body(b".hi\r\n")
    client.end_body()
    assert client.outgoing() == b"..hi\r\n.\r\n"
    assert client.stage is Stage.END
    (event,) = client.receive(b"250 taken\r\n")
    assert codes(event) == [250, 550]
    assert client.stage is Stage.IDLE


def test_one_by_one_without_pipelining() -> None:
    client = ready(BARE)
    client.send(mail("a@b.test", "c@d.test"))
    said = []
    for answer in (b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n"):
        said.append(client.outgoing())
        assert client.receive(answer) == []
    said.append(client.outgoing())
    assert said == [b"MAIL FROM:<s@a.test>\r\n", b"RCPT TO:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n"]
    assert isinstance(client.receive(b"354 go\r\n")[0], BodyWanted)


def test_refused_mail_without_pipelining_ends_at_once() -> None:
    client = ready(BARE)
    client.send(mail("a@b.test", "c@d.test"))
    client.outgoing()
    (event,) = client.receive(b"550 5.7.1 not you\r\n")
    assert codes(event) == [550, 550]
    assert client.outgoing() == b"RSET\r\n"
    client.receive(b"250 ok\r\n")
    client.send(mail("a@b.test"))
    assert client.outgoing() == b"MAIL FROM:<s@a.test>\r\n"


def test_no_recipient_without_pipelining_needs_no_data() -> None:
    client = ready(BARE)
    client.send(mail("a@b.test"))
    client.receive(b"250 ok\r\n")
    client.outgoing()
    (event,) = client.receive(b"450 later\r\n")
    assert codes(event) == [450]
    assert client.outgoing() == b"RSET\r\n"


def test_data_accepted_though_nobody_was() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    client.outgoing()
    assert client.receive(b"250 ok\r\n550 no\r\n354 go\r\n") == []
    assert client.outgoing() == b".\r\n"
    (event,) = client.receive(b"554 nobody\r\n")
    assert codes(event) == [550]


def test_mail_refused_pipelined() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    (event,) = client.receive(b"451 4.7.1 later\r\n503 no mail\r\n503 no mail\r\n")
    assert codes(event) == [451]


def test_data_refused() -> None:
    client = ready()
    client.send(mail("a@b.test", "c@d.test"))
    (event,) = client.receive(b"250 ok\r\n250 ok\r\n550 no\r\n452 full\r\n")
    assert codes(event) == [452, 550]


def test_421_ends_all() -> None:
    client = ready()
    client.send(mail("a@b.test", "c@d.test"))
    events = client.receive(b"250 ok\r\n550 no\r\n421 shutting down\r\n")
    assert codes(events[0]) == [550, 421]
    assert isinstance(events[1], Broken)
    assert client.wants is Wants.CLOSE
    assert client.receive(b"250 more\r\n") == ()


def test_a_premature_success_is_no_success() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    events = client.receive(b"250 already done\r\n")
    assert codes(events[0]) == [451]
    assert isinstance(events[1], Broken)


def test_unexpected_codes_are_temporary() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    (event,) = client.receive(b"250 ok\r\n354 what\r\n250 what\r\n")
    assert codes(event) == [451]


def test_lost_connection() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    client.receive(b"250 ok\r\n")
    events = client.lost("the peer went away")
    assert codes(events[0]) == [421]
    assert client.lost("again") == []


# --- LMTP


def test_lmtp_bdat_at_once_with_delivery_ids() -> None:
    client = ready(LOCAL, lmtp=True)
    client.send(mail("a@b.test", "c+x@d.test", whole=b"hi\r\n"))
    assert client.outgoing() == (
        b"MAIL FROM:<s@a.test>\r\nRCPT TO:<a@b.test> XDELIVERY=0001/a@b.test\r\n"
        b"RCPT TO:<c+x@d.test> XDELIVERY=0001/c+2Bx@d.test\r\nBDAT 4 LAST\r\nhi\r\n"
    )
    assert client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n250 2.0.0 stored\r\n") == []
    (event,) = client.receive(b"452 4.2.2 full\r\n")
    assert codes(event) == [250, 452]


def test_lmtp_partly_accepted() -> None:
    client = ready(LOCAL, lmtp=True)
    client.send(mail("a@b.test", "c@d.test", "e@f.test", whole=b"hi\r\n"))
    (event,) = client.receive(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 A\r\n250 B\r\n")
    assert isinstance(event, Finished)
    assert [str(r) for r in event.replies] == ["250 A", "550 no", "250 B"]


def test_several_lmtp_transactions_under_way() -> None:
    client = ready(LOCAL, lmtp=True)
    for name in "abc":
        client.send(mail(f"{name}@b.test", whole=b"hi\r\n"))
    assert client.outgoing().count(b"BDAT 4 LAST") == 3
    events = client.receive(b"250 x\r\n250 x\r\n250 done\r\n" * 3)
    assert [codes(event) for event in events] == [[250]] * 3


def test_lmtp_data_has_a_reply_for_each() -> None:
    client = ready(b"250-h\r\n250 PIPELINING\r\n", lmtp=True)
    client.send(mail("a@b.test", "c@d.test"))
    client.receive(b"250 x\r\n250 x\r\n250 x\r\n354 go\r\n")
    client.end_body()
    assert client.receive(b"250 one\r\n") == []
    (event,) = client.receive(b"550 two\r\n")
    assert codes(event) == [250, 550]


# --- what cannot be said


@pytest.mark.parametrize("address", ["a@b>\r\nDATA", "a b@c", "a@b\x00", "<a@b", "\ud800@b.test", '"a\r\n"@b'])
def test_unsendable_addresses(address: str) -> None:
    client = ready()
    with pytest.raises(Unsendable):
        client.send(mail(address))
    assert client.outgoing() == b""


def test_quoted_local_parts_may_hold_spaces() -> None:
    client = ready()
    client.send(mail('"a <b"@c.test'))
    assert b'RCPT TO:<"a <b"@c.test>\r\n' in client.outgoing()


def test_xtext() -> None:
    assert xtext("a+b=c d\u00e9") == b"a+2Bb+3Dc+20d+C3+A9"


# --- nothing a peer sends breaks it


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    [b"250 ok\r\n", b"354 go\r\n", b"550 no\r\n", b"421 bye\r\n", b"250-x\r\n", b"334 \r\n", b"\r\n"]
)), max_size=30), st.booleans(), st.booleans())  # fmt: skip
def test_every_transaction_has_one_outcome(chunks: list[bytes], lmtp: bool, whole: bool) -> None:
    client = ready(LOCAL if lmtp else FULL, lmtp=lmtp)
    client.send(mail("a@b.test", "c@d.test", whole=b"hi\r\n" if whole else None))
    finished = 0
    for chunk in chunks:
        for event in client.receive(chunk):
            if isinstance(event, BodyWanted):
                client.end_body()
            elif isinstance(event, Finished):
                finished += 1
                assert len(event.replies) == 2
        client.outgoing()
    finished += sum(isinstance(event, Finished) for event in client.lost("end"))
    assert finished == 1


def test_bad_reply_tells_all() -> None:
    client = ready()
    client.send(mail("a@b.test"))
    events = client.receive(b"nonsense\r\n")
    assert isinstance(events[0], Finished)
    assert events[0].replies == (Reply(451, "4.5.0", "the peer sent a line that is no reply"),)
    assert isinstance(events[1], Broken)
