"""Targets of the other protocols: SMTP and LMTP both ways, the PROXY header, SASL."""

import re
from collections.abc import Sequence

from rookery.wire.proxy import V1_LIMIT, V2_LIMIT, ProxyHeader, read_header
from rookery.wire.sasl.plain import LoginEngine, PlainEngine
from rookery.wire.sasl.saslprep import saslprep
from rookery.wire.sasl.scram import ScramEngine, ScramKey, ScramSecrets
from rookery.wire.sasl.steps import Done as SaslDone
from rookery.wire.sasl.steps import NeedSecrets, Proved
from rookery.wire.smtp.engine import Engine as SmtpEngine
from rookery.wire.smtp.events import Auth, BodyChunk, BodyEnd, BodyFailed, BodyStart, Mail, Rcpt, SaslAnswer
from rookery.wire.smtp.offers import Offer
from rookery.wire.smtp.paths import read_path
from rookery.wire.smtp_client.engine import SmtpClient
from rookery.wire.smtp_client.events import BodyWanted, MailRecipient, Ready
from rookery.wire.smtp_client.events import Mail as OutgoingMail

from .target import Target, require

_STARTTLS = re.compile(rb"STARTTLS *\r\n", re.IGNORECASE)
_OFFER = Offer(size=5000, starttls=True, auth=("PLAIN", "LOGIN"), chunking=True, dsn=True, xdelivery=True)


def _serve(pieces: Sequence[bytes], lmtp: bool) -> tuple[list[object], bytes, object]:
    """Drive the server engine as a session would that says yes to everything."""
    engine = SmtpEngine("mx.example.test", _OFFER, lmtp=lmtp)
    found: list[object] = []
    recipients = 0
    for piece in pieces:
        data = piece
        while events := engine.receive(data):
            data = b""
            for event in events:
                if isinstance(event, BodyChunk) and found and isinstance(found[-1], BodyChunk):
                    found[-1] = BodyChunk(found[-1].data + event.data)
                    continue
                if isinstance(event, BodyFailed) and isinstance(found[-1], BodyChunk):
                    found.pop()  # how much of it had been reported by then is a matter of chance
                found.append(event)
                if isinstance(event, Auth):
                    engine.challenge(b"x")
                elif isinstance(event, SaslAnswer):
                    if event.data is not None:
                        engine.authenticated()
                elif isinstance(event, Mail):
                    recipients = 0
                    engine.accept()
                elif isinstance(event, Rcpt):
                    recipients += 1
                    engine.accept()
                elif isinstance(event, BodyStart):
                    engine.accept()
                elif isinstance(event, BodyEnd):
                    engine.answer_each([b"250 2.0.0 stored\r\n"] * recipients) if lmtp else engine.accept()
    return found, engine.outgoing(), engine.wants


def smtp(data: bytes) -> None:
    """The first octet: SMTP or LMTP, and how the input is cut."""
    lmtp, step, data = bool(data[:1] > b"\x7f"), 1 + (data[0] % 16 if data else 0), data[1:]
    starttls = _STARTTLS.search(data)
    if starttls is not None:  # what follows in the same packet is an attack, what follows later is TLS
        data = data[: starttls.end()]
    whole = _serve([data], lmtp)
    require(
        whole == _serve([data[i : i + step] for i in range(0, len(data), step)], lmtp),
        "pieces are understood otherwise",
    )
    for line in whole[1].splitlines(keepends=True):
        require(line.endswith(b"\r\n") and line[:3].isdigit() and line[3:4] in b" -", "an answer that is no reply")


def smtp_paths(data: bytes) -> None:
    read_path(data.decode("latin-1"))
    read_path(data.decode("utf-8", "replace"))


def smtp_client(data: bytes) -> None:
    """Replies of a server, to a client that wants to send a message."""
    lmtp, step, data = bool(data[:1] > b"\x7f"), 1 + (data[0] % 16 if data else 0), data[1:]
    client = SmtpClient("me.example.test", lmtp=lmtp)
    mail = OutgoingMail("a@example.test", (MailRecipient("b@example.test"), MailRecipient("c@example.test")), 5)
    finished = 0
    client.hello()
    for i in range(0, len(data), step):
        for event in client.receive(data[i : i + step]):
            if isinstance(event, Ready):
                client.send(mail)
            elif isinstance(event, BodyWanted):
                client.body(b"a\r\n.\r\n")
                client.end_body()
            finished += type(event).__name__ == "Finished"
        client.outgoing()
    require(finished <= 1, "one transaction with two outcomes")


def proxy(data: bytes) -> None:
    answer = read_header(data)
    require(answer is not None or len(data) < max(V1_LIMIT, V2_LIMIT), "the header never ends")
    if isinstance(answer, ProxyHeader):
        require(0 < answer.length <= len(data), "a header longer than what came")
        require(read_header(data[: answer.length]) == answer, "a header that needs what follows")
        require(read_header(data[: answer.length] + b"x" + data[answer.length :]) == answer, "what follows matters")
        require(read_header(data[: answer.length - 1]) is None, "a part of a header is taken for one")


_SECRETS = ScramSecrets(b"salt", 4096, (ScramKey(b"s" * 32, b"k" * 32),))


def sasl(data: bytes) -> None:
    """Messages by line; nobody gets in without knowing the key."""
    messages = data.split(b"\n")[:6]
    for engine in (PlainEngine(), LoginEngine()):
        engine.start(None)
        for message in messages:
            engine.answer(message)
    scram = ScramEngine("server-nonce-server-nonce")
    step = scram.start(messages[0])
    for message in messages[1:]:
        if isinstance(step, NeedSecrets):
            scram.secrets(_SECRETS)
        step = scram.answer(message)
        require(not isinstance(step, Proved | SaslDone), "logged in without the key")
    try:
        text = saslprep(data.decode("utf-8", "replace"))
    except ValueError:
        return
    require(saslprep(text) == text, "SASLprep is not stable")


_SESSION = (
    b'\x03EHLO a\r\nMAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<"q r"@[127.0.0.1]>\r\nDATA\r\n'
    b"A: b\r\n\r\n..x\r\n.\r\nQUIT\r\n",
    b"\x03EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\r\nRSET\r\n"
    b"AUTH PLAIN\r\nAGEAYg==\r\nSTARTTLS\r\n",
    b"\x83LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d> XDELIVERY=a+2Fb\r\nDATA\r\nx\r\n.\r\n",
    b"\x03STAR\r\nNOOP\r\n",  # was taken for STARTTLS
)
_REPLIES = (
    b"\x03220 hello\r\n250-me\r\n250-PIPELINING\r\n250-SIZE 100\r\n250 CHUNKING\r\n"
    b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n250 done\r\n",
)
_HEADERS = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02",
)

TARGETS = (
    Target(
        "smtp", smtp, _SESSION, (b"\r\n.\r\n", b"BDAT 3 LAST\r\n", b"MAIL FROM:<", b"RCPT TO:<", b"\n.\n", b"\r.\r")
    ),
    Target("smtp-paths", smtp_paths, (b"<@a,@b:c@d>", b'<"a b"@[IPv6:::1]>', b"<>")),
    Target("smtp-client", smtp_client, _REPLIES, (b"250-", b"250 ", b"354 ", b"\r\n")),
    Target("proxy", proxy, _HEADERS, (b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n")),
    Target(
        "sasl", sasl, (b"\0a\0b\n", b"n,,n=user,r=abc\nc=biws,r=abcserver-nonce-server-nonce,p=AAAA"), (b"n,,", b"r=")
    ),
)
