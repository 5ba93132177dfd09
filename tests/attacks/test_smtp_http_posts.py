"""A form posted to the SMTP port by somebody's browser or server (cross-protocol request forgery): no line counts.

Also commands that cost the client little and go on for ever.
"""

from dataclasses import replace

import pytest

from rookery.wire.engine import Wants
from tests.access.smtp.world import World
from tests.wire.smtp.dialogue import Dialogue

LETTER = "EHLO a.test\nMAIL FROM:<a@x.test>\nRCPT TO:<alice@d.test>\nDATA\nSubject: x\n\nhi\n.\nQUIT\n"


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\nHost: localhost:25\n\n",
        "GET /x HTTP/1.0\n\n",
        "CONNECT mx.d.test:25 HTTP/1.1\nHost: x\n\n",
        f"POST /{'x' * 5000} HTTP/1.1\nHost: localhost:25\n\n",  # the method is lost with the line
        "PRI * HTTP/2.0\n\nSM\n\n",
    ],
)
async def test_a_letter_in_a_web_request(mail_world: World, head: str) -> None:
    client = await mail_world.mx()
    client.stream.write((head + LETTER).replace("\n", "\r\n").encode())
    said = await client.ended()
    assert said.endswith("421 4.7.0 This is not a web server\n")
    assert "250 2" not in said
    assert mail_world.taken.messages == []


async def test_recipients_without_number(mail_world: World) -> None:
    mail_world.settings = replace(mail_world.settings, recipients=10)
    client = await mail_world.mx()
    await client.say("MAIL FROM:<a@x.test>\n")
    client.stream.write(b"RCPT TO:<alice@d.test>\r\n" * 111)
    said = await client.ended()
    assert said.count("250 2.1.5") == 10
    assert said.endswith("421 4.7.0 Too many refused recipients\n")


def test_empty_chunks_without_number() -> None:
    dialogue = Dialogue()
    dialogue.feed(b"EHLO c.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@d.test>\r\n")
    dialogue.feed(b"BDAT 0\r\n" * 5000)
    assert dialogue.engine.wants is Wants.CLOSE
    assert dialogue.said.endswith(b"421 4.7.0 Too many commands without a message\r\n")
    assert dialogue.said.count(b"Chunk taken") <= 100
