"""Ways between two nodes are cut without a word, nodes are killed, certificates end: nobody gets a wrong answer, who
can be reached another way is, and everything is as before by itself.
"""

import imaplib
import time
from collections.abc import Callable, Iterator

import pytest

from rookery.distribution.cluster.authority import LIFETIME
from rookery.distribution.cluster.files import ClusterFiles
from tests.journeys.site import RunningSite
from tests.journeys.static_cluster import DOMAIN, NODES, StaticCluster
from tests.journeys.waiting import wait_until

# Who is asked for first by frontends is known to them; the others are each of a test's own.
USERS = {"alice": "main", "bob": "south", "carol": "south", "dave": "south", "erin": "south", "frank": "main"}
LETTER = b"Subject: kept\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaticCluster]:
    made = StaticCluster(tmp_path_factory.mktemp("cuts"), USERS)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def cluster(made: StaticCluster) -> Iterator[StaticCluster]:
    """In which alice and bob have logged in by f1."""
    made.wait_until_steady("alice", "bob")
    yield made
    made.relays.heal()
    made.start()


def seconds(until: Callable[[], object], what: str) -> float:
    began = time.monotonic()
    wait_until(until, what)
    print(f"{what}: {time.monotonic() - began:.1f} s")
    return time.monotonic() - began


def ended(client: imaplib.IMAP4) -> bool:
    """Its connection, whether or not with a word before."""
    client.sock.settimeout(30)
    while client.sock.recv(1000):
        pass
    return True


def appended(client: imaplib.IMAP4) -> int:
    """Returns how many there are in INBOX then."""
    assert client.append("INBOX", "", "", LETTER)[0] == "OK"  # type: ignore[arg-type]
    return int(client.select("INBOX")[1][0] or b"0")


def told(site: RunningSite) -> str:
    return site.rookery("health").stderr


def test_frontend_and_backend(cluster: StaticCluster) -> None:
    """Who is there is passed on by a directory node, which reaches the backend."""
    bob, alice = cluster.login("bob"), cluster.login("alice")
    count = appended(bob)
    cluster.relays.cut("f1", "n2")
    assert seconds(lambda: ended(bob), "end of the session") < 20
    assert seconds(lambda: cluster.serves("bob"), "login by another way") < 20
    seconds(lambda: cluster.serves("bob"), "the next login by another way")
    assert cluster.serves("carol")
    again = cluster.login("bob")
    assert appended(again) == count + 1
    assert alice.noop()[0] == "OK"
    cluster.relays.heal()
    directory = cluster.sites["n1"], cluster.sites["d1"]

    def direct() -> bool:
        before = sum(site.log_text().count(" passed-on ") for site in directory)
        return cluster.serves("bob") and before == sum(site.log_text().count(" passed-on ") for site in directory)

    seconds(direct, "login by the direct way")
    assert again.noop()[0] == "OK"  # and stays where it is


def test_frontend_and_directory(cluster: StaticCluster) -> None:
    front = cluster.sites["f1"]
    cluster.relays.cut("f1", "n1")
    seconds(lambda: cluster.serves("bob"), "login by the other directory node")
    assert cluster.serves("alice"), "her host is behind the cut"
    cluster.relays.cut("f1", "d1")
    seconds(lambda: cluster.serves("bob"), "login of a known user without a directory node")
    assert not cluster.serves("dave")
    seconds(lambda: "only who logged in here before" in told(front), "health to say so")
    assert cluster.serves("bob")
    assert cluster.serves("dave", "f2")
    cluster.relays.heal()
    seconds(lambda: cluster.serves("dave"), "login of an unknown user")
    seconds(lambda: told(front) == "", "health to be well")


def test_backend_and_directory(cluster: StaticCluster) -> None:
    """Users of the backend get in, by its own copy of what they need. A password that was changed meanwhile counts as
    soon as the backend hears of it, and is not called wrong before.
    """
    n1, n2 = cluster.sites["n1"], cluster.sites["n2"]
    cluster.relays.cut("n2", "n1", "d1")
    n1.rookery("account", "password", f"bob@{DOMAIN}", "--password-file", "-", text="another\n")
    assert cluster.serves("bob", "n2")
    seconds(lambda: not _line(n1, "n2")["answers"], "cluster status to say so")
    former, cluster.passwords[f"bob@{DOMAIN}"] = cluster.passwords[f"bob@{DOMAIN}"], "another"
    assert not cluster.serves("bob"), "the directory knows the password, and reaches no host"
    cluster.relays.heal()
    seconds(lambda: _line(n1, "n2")["answers"] and _line(n1, "n2")["behind"] == 0, "the backend to catch up")
    seconds(lambda: cluster.serves("bob", "f2"), "login with the new password")
    assert cluster.serves("bob", "n2")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imaplib.IMAP4(NODES["n2"], n2.ports["imap"], 30).login(f"bob@{DOMAIN}", former)
    assert cluster.serves("erin")


def _line(site: RunningSite, node: str) -> dict[str, object]:
    """What `cluster status` says of a node."""
    found: dict[str, object] = next(one for one in site.json("cluster", "status")["nodes"] if one["node"] == node)
    return found


def test_frontend_killed(cluster: StaticCluster) -> None:
    client = cluster.login("alice")
    count = appended(client)
    cluster.sites["f1"].kill()
    assert ended(client)
    assert appended(cluster.login("alice", "f2")) == count + 1
    cluster.start()
    assert seconds(lambda: cluster.serves("alice"), "login by the frontend that was killed") < 20


def test_certificate_that_ends_while_the_authority_is_away(cluster: StaticCluster) -> None:
    """And with it the directory's primary."""
    front, others = cluster.sites["f2"], ("n2", "d1")
    front.stop()
    cluster.sites["n1"].kill()
    _shorten(cluster, "f2", 3600.0)
    front.start()
    seconds(lambda: "its certificate in the cluster ends in " in told(front), "health to warn")
    assert cluster.serves("bob", "f2")
    front.stop()
    _shorten(cluster, "f2", -60.0)
    front.start()
    assert not cluster.serves("bob", "f2")
    assert "its certificate in the cluster has ended" in front.rookery("health", code=1).stderr
    assert any("the certificate of f2 " in cluster.sites[name].log_text() for name in others), "it is not named"
    assert cluster.serves("bob"), "the others go on"
    assert cluster.serves("carol")
    cluster.start()
    seconds(lambda: cluster.serves("bob", "f2"), "another certificate")
    seconds(lambda: cluster.serves("alice"), "login to the node that was killed")
    assert told(front) == ""


def _shorten(cluster: StaticCluster, node: str, left: float) -> None:
    """The node's certificate ends in so many seconds: it is made anew, for the same key."""
    authority = ClusterFiles(cluster.sites["n1"].folder / "cluster").authority()
    files = ClusterFiles(cluster.sites[node].folder / "cluster")
    state = files.state()
    assert authority is not None
    assert state is not None
    member, begins = state.member, int(time.time() + left) - LIFETIME
    made = authority.issue(state.key.public_key(), member.name, sorted(member.roles), member.serial, begins)
    files.write_state(state.key, made, (), state.bundle)


def test_cold_start(cluster: StaticCluster) -> None:
    """Everything without power at once, and started at once: some find nobody whom they need."""
    counts = {user: appended(cluster.login(user)) for user in ("alice", "bob")}
    cluster.kill()
    began = time.monotonic()
    cluster.start()
    cluster.wait_until_steady("alice", "bob", "frank")
    print(f"cold start: {time.monotonic() - began:.1f} s")
    for user, count in counts.items():
        client = cluster.login(user)
        assert appended(client) == count + 1
