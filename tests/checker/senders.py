"""Clients that deliver: by LMTP where the account is hosted, by SMTP anywhere."""

import random
import re
import smtplib
import threading
import time

from tests.checker.history import LENGTHS, History, Outcome
from tests.journeys.cluster import Cluster

LOST = (OSError, smtplib.SMTPException)
BREATH = 0.05  # seconds between two messages, at most
PATIENCE = 10.0  # seconds until an answer is given up


class Sender:
    """One message after another to any account, each with a mark of its own: nothing is sent twice."""

    def __init__(self, cluster: Cluster, history: History, name: str, seed: str, *, lmtp: bool) -> None:
        self._cluster = cluster
        self._history = history
        self._name = name
        self._dice = random.Random(seed)
        self._what = "lmtp" if lmtp else "smtp"
        self._kind = smtplib.LMTP if lmtp else smtplib.SMTP
        self._backend = ""

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._backend = self._backend or self._dice.choice(list(self._cluster.doors))
            port = self._cluster.ports[self._what]
            try:
                client = self._kind(
                    self._cluster.doors[self._backend], port, local_hostname="client.test", timeout=PATIENCE
                )
            except LOST:
                self._backend = ""
                stop.wait(self._dice.uniform(0, 0.2))
                continue
            with client:
                self._session(client, stop)

    def _session(self, client: smtplib.SMTP, stop: threading.Event) -> None:
        """Until the connection is lost, or another backend is to be asked."""
        while not stop.is_set():
            account = self._dice.choice(list(self._cluster.passwords))
            mark = self._history.new_mark(self._name)
            body = self._history.message(mark, account, self._dice.choice(LENGTHS))
            began = time.monotonic()
            outcome, said = self._send(client, mark, account, body)
            self._history.note(self._name, self._what, outcome, f"{self._backend} {mark} to {account}: {said}", began)
            if outcome is Outcome.DONE:
                self._history.delivered.add(mark)
            else:
                there = re.search(r"hosted by backend (\w+)", said)
                self._backend = there[1] if there else ""
                stop.wait(0 if there else self._dice.uniform(0, 0.2))
                return
            stop.wait(self._dice.uniform(0, BREATH))

    def _send(self, client: smtplib.SMTP, mark: str, account: str, body: bytes) -> tuple[Outcome, str]:
        """Refused before the message was sent, it cannot be there; refused afterwards it may be."""
        try:
            client.ehlo_or_helo_if_needed()
            code, said = client.mail("sender@elsewhere.test")
            if code == 250:
                code, said = client.rcpt(account)
            if code != 250:
                return Outcome.REFUSED, f"{code} {said!r}"
        except LOST as error:
            return Outcome.REFUSED, f"{type(error).__name__}: {error}"
        self._history.offer(mark, account)
        try:
            code, said = client.data(body)
        except LOST as error:
            return Outcome.UNKNOWN, f"{type(error).__name__}: {error}"
        return (Outcome.DONE if code == 250 else Outcome.UNKNOWN), f"{code} {said!r}"
