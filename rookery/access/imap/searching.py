"""SEARCH (RFC 9051 section 6.4.4; RFC 4731 ESEARCH; RFC 5182 SEARCHRES): the command and its two forms of answer."""

from rookery.access.imap.matching import Matcher, uses_modseq
from rookery.access.imap.selected import Selected
from rookery.access.imap.session import Session
from rookery.base.errors import RookeryError
from rookery.base.numberset import NumberSet
from rookery.wire.imap import responses
from rookery.wire.imap.commands import Search
from rookery.wire.imap.search import SearchReturn

_ALL = frozenset((SearchReturn.ALL,))


async def search(session: Session, tag: bytes, command: Search) -> bytes:
    if command.charset is not None and session.utf8_accept:  # RFC 6855 section 3
        return b"BAD After ENABLE UTF8=ACCEPT every search is in UTF-8 and names no charset"
    selected = session.chosen()
    modseq = uses_modseq(command.key)
    if modseq:
        session.condstore = True
    saving = command.returns is not None and SearchReturn.SAVE in command.returns
    try:
        places = await Matcher(session, selected).run(command.key)
    except RookeryError:
        if saving:
            selected.saved = NumberSet()  # RFC 5182 section 2.1
        raise
    uids = selected.view.uids
    found = [uids[place] for place in places] if command.uid else [place + 1 for place in places]
    newest = _newest(selected, places) if modseq and places else None
    returns = command.returns
    if returns is None and session.rev2:
        returns = _ALL
    if returns is None:
        session.send(responses.search(found, newest))
        return b"OK Search completed"
    if saving:
        selected.saved = _to_save(selected, places, returns)
    wanted = returns - {SearchReturn.SAVE}
    if wanted or not saving:
        session.send(_esearch(tag, found, wanted, newest, uid=command.uid))
    return b"OK Search completed"


def _esearch(tag: bytes, found: list[int], wanted: frozenset[SearchReturn], modseq: int | None, *, uid: bool) -> bytes:
    """MIN, MAX and ALL are left out when nothing was found (RFC 4731 section 3.1)."""
    return responses.esearch(
        tag,
        uid=uid,
        least=found[0] if found and SearchReturn.MIN in wanted else None,
        greatest=found[-1] if found and SearchReturn.MAX in wanted else None,
        all=NumberSet.of_sorted(found) if SearchReturn.ALL in wanted else None,
        count=len(found) if SearchReturn.COUNT in wanted else None,
        modseq=modseq,
    )


def _to_save(selected: Selected, places: list[int], returns: frozenset[SearchReturn]) -> NumberSet:
    """What `$` is from now on: all that was found, but with only MIN or MAX asked just those (RFC 5182 section 2.4)."""
    ends = returns & {SearchReturn.MIN, SearchReturn.MAX}
    if ends and not returns & {SearchReturn.ALL, SearchReturn.COUNT}:
        kept = {places[0]} if places and SearchReturn.MIN in ends else set()
        if places and SearchReturn.MAX in ends:
            kept.add(places[-1])
        places = sorted(kept)
    uids = selected.view.uids
    return NumberSet.of_sorted(uids[place] for place in places)


def _newest(selected: Selected, places: list[int]) -> int:
    """The greatest mod-sequence of what was found (RFC 7162 section 3.1.5)."""
    greatest = 0
    for place in places:
        position = selected.state.position(selected.view.uids[place])
        if position is not None:
            greatest = max(greatest, selected.state.modseqs[position])
    return greatest
