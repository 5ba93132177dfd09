"""Counting connections."""

from rookery.net.limits import Admission, Admissions, ConnectionLimits, Refused, Total, address_key


def take(admissions: Admissions, address: str) -> Admission:
    answer = admissions.admit(address)
    assert isinstance(answer, Admission)
    return answer


def test_per_address_and_before_login() -> None:
    total = Total(100)
    admissions = Admissions(ConnectionLimits(per_address=3, before_login=2), total)
    first, second = take(admissions, "192.0.2.1"), take(admissions, "192.0.2.1")
    assert admissions.admit("192.0.2.1") == Refused("connections-before-login", first=True)
    assert admissions.admit("192.0.2.1") == Refused("connections-before-login", first=False)
    first.promote()
    first.promote()
    third = take(admissions, "192.0.2.1")
    third.promote()
    assert admissions.admit("192.0.2.1") == Refused("connections-per-address", first=False)
    take(admissions, "192.0.2.2").release()
    second.release()
    second.release()
    assert total.count == 2
    take(admissions, "192.0.2.1").release()
    first.release()
    third.release()
    assert total.count == 0
    assert len(admissions) == 0


def test_a_network_of_ipv6_is_one_address() -> None:
    admissions = Admissions(ConnectionLimits(per_address=2, before_login=None), Total())
    take(admissions, "2001:db8:1:2::1")
    take(admissions, "2001:db8:1:2:ffff::9%eth0")
    assert isinstance(admissions.admit("2001:db8:1:2:3:4:5:6"), Refused)
    take(admissions, "2001:db8:1:3::1")
    assert address_key("192.0.2.1") == "192.0.2.1"


def test_the_total_is_shared_by_all_listeners() -> None:
    total = Total(2)
    one, other = (Admissions(ConnectionLimits(), total) for _ in range(2))
    take(one, "192.0.2.1")
    take(other, "192.0.2.2")
    assert one.admit("192.0.2.3") == Refused("connections")
    assert len(one) == 1
