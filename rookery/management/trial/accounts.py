"""Users of a cluster to try: each in the pool that the layout says, with a first message that came in by its MX."""

import imaplib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rookery.base.ids import short_id
from rookery.management.client import Client
from rookery.management.demo import PASSWORDS, send_welcome
from rookery.management.operations.accounts import add_account, list_accounts
from rookery.management.operations.check import ports
from rookery.management.trial.layout import DOMAIN
from rookery.management.trial.making import Making

ARRIVAL = 10.0  # seconds within which the welcome message is there


def address_of(user: str) -> str:
    return f"{user}@{DOMAIN}"


def fill(making: Making) -> dict[str, str]:
    """While all serve: the accounts, each opened where it belongs, and the message. Returns passwords by address."""
    layout = making.layout
    file: Path = making.folder / PASSWORDS
    passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    users = [address_of(user) for node in layout.pools for user in node.users]
    fresh = [address for address in users if address not in passwords]
    passwords |= {address: f"{short_id()[:4]}-{short_id()[:4]}" for address in fresh}
    for node in layout.pools:
        client = Client(making.site(node).folder)
        known = {row.address for row in client.call(list_accounts)}
        for address in map(address_of, node.users):
            if address not in known:
                name = address.partition("@")[0].capitalize()
                client.call(add_account, address, passwords[address], name=name)
    open_ports = ports(Client(making.site(layout.first).folder).config)
    places = _places(making)
    for address, place in places.items():
        _open(place, open_ports["imap"], address, passwords[address], lambda client: True)
    if not fresh:
        return passwords
    send_welcome(layout.exchanger.address, open_ports["smtp"], users)
    front = layout.frontends[0].address
    for address in users:
        _open(front, open_ports["imap"], address, passwords[address], lambda client: client.select()[1] != [b"0"])
    file.write_text(json.dumps(passwords, indent=2) + "\n", encoding="utf-8")
    os.chmod(file, 0o600)
    return passwords


def _places(making: Making) -> dict[str, str]:
    """Where each account is opened first: those of the dynamic pool at one backend each."""
    found: dict[str, str] = {}
    for node in making.layout.pools:
        backends = list(making.layout.backends.values()) if node is making.layout.first else []
        for number, user in enumerate(node.users):
            found[address_of(user)] = backends[number % len(backends)] if backends else node.address
    return found


def _open(host: str, port: int, address: str, password: str, good: Callable[[imaplib.IMAP4], bool]) -> None:
    """Log in where the account should be, unless another backend has it already, until it is `good`."""
    with imaplib.IMAP4(host, port, ARRIVAL) as client, suppress(imaplib.IMAP4.error):
        client.login(address, password)
        end = time.monotonic() + ARRIVAL
        while not good(client) and time.monotonic() < end:
            time.sleep(0.05)
