"""A client that uses its account through IMAP: whatever backend it asks first, it goes where it is sent.

It appends, flags, copies, moves, expunges and renames what it made itself, and looks whether it is all there.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tests.checker.history import LENGTHS, Doubt, History, Letter, Outcome, Place
from tests.journeys.cluster import Cluster
from tests.journeys.imap import Answer, Client, Refused

LOST = (OSError, EOFError)
KEYWORDS = ("blue", "green", "\\Flagged", "\\Seen")
OURS = frozenset(KEYWORDS) | {"\\Deleted"}
PATIENCE = (1.0, 6.0)  # seconds until an answer is given up: when one goes elsewhere, another still waits
MOST_TOGETHER = 3  # letters that one command changes
BREATH = 0.02  # seconds between two commands, at most

_UID = re.compile(rb"[ (]UID (\d+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")


class User:
    """`run` until `stop`: any number of sessions, each until it is lost."""

    def __init__(self, cluster: Cluster, history: History, account: str, name: str, seed: str, patience: float) -> None:
        self._cluster = cluster
        self._history = history
        self._account = account
        self._name = name
        self._patience = patience
        self._dice = random.Random(seed)
        self._boxes: dict[str, int] = {}  # names and UIDVALIDITY of those that it may use now
        self._mine: list[Letter] = []
        self._client: Client | None = None
        self._backend = ""
        self._selected = ""
        self._folders = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._session(stop)
            except LOST:
                pass
            except Refused as refused:
                self._note("session", Outcome.REFUSED, str(refused), time.monotonic())
            finally:
                if self._client is not None:
                    self._client.close()
                self._client, self._selected = None, ""
            stop.wait(self._dice.uniform(0, 0.2))

    # --- sessions --------------------------------------------------------------------------------------------------

    def _session(self, stop: threading.Event) -> None:
        began = time.monotonic()
        self._client = self._log_in()
        self._note("login", Outcome.DONE, self._backend, began)
        self._select("INBOX")
        if len(self._boxes) == 1:
            self._make_folder()
        actions: list[Callable[[], None]] = [
            self._append, self._append, self._flag, self._flag, self._copy, self._move, self._expunge, self._look,
        ]  # fmt: skip
        while not stop.is_set():
            if self._dice.random() < 0.3:
                self._select(self._dice.choice(list(self._boxes)))
            if self._dice.random() < 0.03:
                self._rename()
            if self._dice.random() < 0.02:
                return  # and comes back, perhaps by another backend
            self._dice.choice(actions)()
            stop.wait(self._dice.uniform(0, BREATH))

    def _log_in(self) -> Client:
        name = self._dice.choice(list(self._cluster.doors))
        for _ in range(3):
            try:
                self._backend = name
                return self._cluster.connect(name, self._account, patience=self._patience)
            except Refused as refused:
                name = self._cluster.referred(refused)
                if not name:
                    raise
        raise EOFError("sent around")

    def _note(self, what: str, outcome: Outcome, detail: str, began: float) -> None:
        self._history.note(self._name, what, outcome, f"{self._backend} {detail}", began)

    def _ask(self, what: str, command: str, literal: bytes | None = None) -> Answer:
        assert self._client is not None
        began = time.monotonic()
        try:
            answer = self._client.ask(command, literal)
        except Refused as refused:
            self._note(what, Outcome.REFUSED, f"{self._selected}: {command}: {refused}", began)
            raise
        except LOST as error:
            self._note(what, Outcome.UNKNOWN, f"{self._selected}: {command}: {type(error).__name__}: {error}", began)
            raise
        said = (answer.text + b" " + b"".join(answer.lines)).decode(errors="replace")
        self._note(what, Outcome.DONE, f"{self._selected}: {command}: {said[:200]}", began)
        return answer

    def _select(self, name: str) -> None:
        validity = self._boxes.get(name, 0)
        before = self._history.horizon(self._account, validity)
        answer = self._ask("select", f"SELECT {name}")
        (now,), (uidnext,), (modseq,) = (answer.numbers(c)[0] for c in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ"))
        if validity not in (0, now):
            self._wrong(f"UIDVALIDITY of {name} was {validity}, is {now}")
        if uidnext < before.uidnext or modseq < before.modseq:
            self._wrong(f"{name} was at {before} when UIDNEXT {uidnext} and HIGHESTMODSEQ {modseq} were told")
        self._history.told(self._account, now, uidnext=uidnext, modseq=modseq)
        self._boxes[name] = now
        self._selected = name

    def _wrong(self, what: str) -> None:
        self._history.violated(f"{self._name} of {self._account} at {self._backend}: {what}")

    # --- mailboxes -------------------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        """One whose name nobody has used."""
        self._folders += 1
        name = f"{self._name}-{self._folders}"
        self._ask("create", f"CREATE {name}")
        status = self._ask("status", f"STATUS {name} (UIDVALIDITY)")
        found = re.search(rb"UIDVALIDITY (\d+)", b"".join(status.lines))
        assert found, status
        self._boxes[name] = int(found[1])
        self._history.folders[self._account, int(found[1])] = {name}

    def _rename(self) -> None:
        """After an unknown outcome the folder is left alone, and so is all that is in it."""
        before = next(name for name in self._boxes if name != "INBOX")
        self._folders += 1
        after = f"{self._name}-{self._folders}"
        validity = self._boxes.pop(before)
        names = self._history.folders[self._account, validity]
        names.add(after)
        try:
            self._ask("rename", f"RENAME {before} {after}")
        except Refused:
            names.discard(after)
            self._boxes[before] = validity
            return
        except LOST:
            self._mine = [one for one in self._mine if all(place.validity != validity for place in one.places)]
            raise
        names.discard(before)
        self._boxes[after] = validity
        if self._selected == before:
            self._selected = after

    # --- letters ---------------------------------------------------------------------------------------------------

    def _some(self) -> list[tuple[Letter, Place]]:
        """Up to MOST_TOGETHER of its own in the selected mailbox."""
        validity = self._boxes[self._selected]
        here = [(one, place) for one in self._mine for place in one.places if place.validity == validity]
        return self._dice.sample(here, min(len(here), self._dice.randint(1, MOST_TOGETHER)))

    def _change(self, what: str, command: str, chosen: list[tuple[Letter, Place]], doubt: Doubt) -> Answer | None:
        """None: refused. When the outcome is lost, all that were chosen are in doubt, and lost to this client."""
        uids = ",".join(str(place.uid) for _, place in chosen)
        for letter, _ in chosen:  # one letter may be chosen at several places
            self._mine = [one for one in self._mine if one is not letter]
        try:
            answer = self._ask(what, command.replace("UIDS", uids))
        except Refused:
            answer = None
        except LOST:
            for letter, place in chosen:
                letter.doubt = replace(doubt, source=place)
            raise
        self._mine += {id(letter): letter for letter, _ in chosen}.values()
        return answer

    def _append(self) -> None:
        name = self._dice.choice(list(self._boxes))
        validity = self._boxes[name]
        letter = self._history.letter(self._history.new_mark(self._name), self._account)
        before = self._history.horizon(self._account, validity)
        flags = frozenset(self._dice.sample(KEYWORDS, self._dice.randint(0, 2)))
        body = self._history.message(letter.mark, self._account, self._dice.choice(LENGTHS))
        letter.doubt = Doubt(target=validity, flags=flags)
        try:
            answer = self._ask("append", f"APPEND {name} ({' '.join(sorted(flags))})", body)
        except Refused:
            letter.doubt = None
            return
        letter.doubt = None
        (found,), (uid,) = answer.numbers("APPENDUID")
        self._arrived(name, validity, found, [uid], before.uidnext)
        letter.places[Place(self._account, found, uid)] = flags
        self._mine.append(letter)

    def _arrived(self, name: str, validity: int, found: int, uids: list[int], least: int) -> None:
        if found != validity or min(uids) < least:
            self._wrong(f"{name} with UIDVALIDITY {validity} and UIDNEXT {least} gave {uids} under {found}")
        self._history.told(self._account, found, uidnext=max(uids) + 1)

    def _flag(self) -> None:
        chosen = self._some()[:1]
        for letter, place in chosen:
            had, word = letter.places[place], self._dice.choice(KEYWORDS)
            will = had - {word} if word in had else had | {word}
            sign = "-" if word in had else "+"
            if self._change("flag", f"UID STORE UIDS {sign}FLAGS ({word})", chosen, Doubt(flags=will)):
                letter.places[place] = will

    def _copy(self) -> None:
        self._to_another("copy", "COPY", moved=False)

    def _move(self) -> None:
        self._to_another("move", "MOVE", moved=True)

    def _to_another(self, what: str, verb: str, *, moved: bool) -> None:
        chosen = self._some()
        target = self._dice.choice([name for name in self._boxes if name != self._selected])
        validity = self._boxes[target]
        if not chosen or len({letter.mark for letter, _ in chosen}) != len(chosen):
            return
        before = self._history.horizon(self._account, validity)
        answer = self._change(what, f"UID {verb} UIDS {target}", chosen, Doubt(target=validity, moved=moved))
        if answer is None:
            return
        if not answer.says("COPYUID"):
            self._wrong(f"{verb} of {[place for _, place in chosen]} found none of them: {answer}")
            self._mine = [one for one in self._mine if all(one is not letter for letter, _ in chosen)]
            return
        (found,), sources, targets = answer.numbers("COPYUID")
        self._arrived(target, validity, found, targets, before.uidnext)
        where = dict(zip(sources, targets, strict=True))
        for letter, place in chosen:
            if place.uid not in where:
                self._wrong(f"{verb} of {place} ({letter.mark}) left it out: {answer}")
                continue
            letter.places[Place(self._account, found, where[place.uid])] = letter.places[place]
            if moved:
                del letter.places[place]

    def _expunge(self) -> None:
        chosen = self._some()
        if not chosen or len({letter.mark for letter, _ in chosen}) != len(chosen):
            return
        for one in chosen:
            letter, place = one
            will = letter.places[place] | {"\\Deleted"}
            if not self._change("flag", "UID STORE UIDS +FLAGS (\\Deleted)", [one], Doubt(flags=will)):
                return
            letter.places[place] = will
        if self._change("expunge", "UID EXPUNGE UIDS", chosen, Doubt()):
            for letter, place in chosen:
                del letter.places[place]

    def _look(self) -> None:
        """What is its own, and in no doubt, must be there, as it left it."""
        validity = self._boxes[self._selected]
        answer = self._ask("look", "UID FETCH 1:* (UID FLAGS)")
        found = {}
        for line in answer.lines:
            uid, flags = _UID.search(line), _FLAGS.search(line)
            if uid and flags:
                found[int(uid[1])] = frozenset(flags[1].decode().split()) & OURS
        for letter in self._mine:
            for place, flags_left in letter.places.items():
                if place.validity == validity and found.get(place.uid) != flags_left:
                    self._wrong(f"{letter.mark} was left at {place} with {flags_left}, is {found.get(place.uid)}")
