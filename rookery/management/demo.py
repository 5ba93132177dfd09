"""The demo site of `make run`: two accounts, a welcome message that travelled through SMTP, and what to try."""

import asyncio
import json
import os
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from rookery.base.config import Config
from rookery.base.ids import short_id
from rookery.management.operations.accounts import add_account
from rookery.management.operations.check import ports
from rookery.management.operations.init import initialise
from rookery.management.parts import Parts
from rookery.management.site import CONFIG_NAME, Site

DOMAIN = "example.test"
HOSTNAME = "mail.example.test"
NAMES = ("alice", "bob")
PASSWORDS = "demo-passwords.json"
LOG = "rookery.log"
SUBJECT = "Welcome to Rookery"
SMTP_TIME = 30.0  # seconds

_WELCOME = """\
This message came in by SMTP, waited in the spool until it was on disk, and was delivered by LMTP into this mailbox.

Write to bob: submission takes your password, and the answer appears here while you watch (IDLE).
"""


def prepare(folder: Path, port_offset: int) -> bool:
    """Make the site unless it is there; returns whether it was made."""
    if (folder / CONFIG_NAME).is_file():
        return False
    initialise(folder, domain=DOMAIN, hostname=HOSTNAME, port_offset=port_offset, settings={"log.file": LOG})
    return True


async def fill(parts: Parts) -> None:
    """On a node that serves: the accounts, and the welcome message. Does nothing the second time."""
    file = parts.site.folder / PASSWORDS
    if file.exists():
        return
    passwords = {}
    for name in NAMES:
        address, password = f"{name}@{DOMAIN}", f"{short_id()[:4]}-{short_id()[:4]}"
        if parts.directory.account(address) is None:
            await add_account(parts, address, password, name=name.capitalize())
            passwords[address] = password
    listening = parts.config.listen.addresses[0], ports(parts.config)["smtp"]
    await asyncio.to_thread(send_welcome, *listening, sorted(passwords))
    file.write_text(json.dumps(passwords, indent=2) + "\n", encoding="utf-8")
    os.chmod(file, 0o600)


def send_welcome(host: str, port: int, recipients: list[str]) -> None:
    """By SMTP, as anybody would."""
    message = EmailMessage()
    message["From"] = f"Rookery <postmaster@{DOMAIN}>"
    message["To"] = ", ".join(recipients)
    message["Subject"] = SUBJECT
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=HOSTNAME)
    message.set_content(_WELCOME)
    with smtplib.SMTP(host, port, "demo.example.test", SMTP_TIME) as client:
        client.send_message(message, f"postmaster@{DOMAIN}", recipients)


def advice(site: Site, config: Config, program: str) -> str:
    """What to read before `ready`: accounts, ports, and commands that work as they stand."""
    passwords: dict[str, str] = json.loads((site.folder / PASSWORDS).read_text(encoding="utf-8"))
    open_ports = ports(config)
    alice, bob = (f"{name}@{DOMAIN}" for name in NAMES)
    secret = passwords.get(alice, "...")
    certificate = site.path(config.tls.certificate)
    accounts = "\n".join(f"  {address}   password {password}" for address, password in passwords.items())
    return f"""\
A demo site in {site.folder}, on loopback only.

Accounts
{accounts}

Mail program
  IMAP  localhost port {open_ports["imaps"]} (TLS) or {open_ports["imap"]} (STARTTLS)
  SMTP  localhost port {open_ports["submissions"]} (TLS) or {open_ports["submission"]} (STARTTLS)
  The certificate is self-signed: {certificate}

Try
  curl -k --user {alice}:{secret} 'imaps://localhost:{open_ports["imaps"]}/INBOX;MAILINDEX=1'
  swaks --server localhost --port {open_ports["submission"]} --auth-user {alice} --auth-password {secret} \\
        --from {alice} --to {bob} --header 'Subject: hello'
  swaks --server localhost --port {open_ports["smtp"]} --from someone@example.com --to {alice}
  openssl s_client -quiet -crlf -connect localhost:{open_ports["imaps"]}     then type: a LOGIN {alice} {secret}
  curl http://localhost:{open_ports["http"]}/metrics
  {program} --site {site.folder} account show {alice}
  {program} --site {site.folder} trace {alice}

The log is {site.folder / LOG}. Ctrl-C ends it; `rm -r {site.folder}` forgets it.
"""
