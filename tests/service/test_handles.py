from rookery.base.clock import ManualClock
from rookery.base.ids import AccountId
from rookery.distribution.service.handles import LIFETIME, Handles

ALICE, BOB = AccountId(b"a" * 16), AccountId(b"b" * 16)


def test_one_opens_what_it_was_made_for_and_only_once() -> None:
    handles = Handles(ManualClock())
    handle = handles.expect(ALICE, "imap", "f1", "session")
    found = handles.redeem(handle, ALICE, "imap", "f1")
    assert found is not None
    assert found.session == "session"
    assert handles.redeem(handle, ALICE, "imap", "f1") is None
    assert not len(handles)


def test_it_opens_nothing_else_and_is_used_up_by_trying() -> None:
    for account, protocol, frontend in ((BOB, "imap", "f1"), (ALICE, "pop3", "f1"), (ALICE, "imap", "f2")):
        handles = Handles(ManualClock())
        handle = handles.expect(ALICE, "imap", "f1", "session")
        assert handles.redeem(handle, account, protocol, frontend) is None
        assert handles.redeem(handle, ALICE, "imap", "f1") is None


def test_it_ends_with_its_time() -> None:
    clock = ManualClock()
    handles = Handles(clock)
    late = handles.expect(ALICE, "imap", "f1", "s")
    clock.advance(LIFETIME)
    assert handles.redeem(late, ALICE, "imap", "f1") is None
    assert handles.redeem(b"", ALICE, "imap", "f1") is None


def test_what_waits_is_bounded_and_what_is_over_goes() -> None:
    clock = ManualClock()
    handles = Handles(clock, most=3)
    first, *others = [handles.expect(ALICE, "imap", "f1", str(number)) for number in range(4)]
    assert len(handles) == 3
    assert handles.redeem(first, ALICE, "imap", "f1") is None
    assert handles.redeem(others[0], ALICE, "imap", "f1") is not None
    clock.advance(LIFETIME)
    handles.expect(BOB, "imap", "f1", "s")
    assert len(handles) == 1
