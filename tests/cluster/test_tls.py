"""Real handshakes between nodes: who gets in, who does not, and what a listener takes up while it listens."""

import ssl
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Role
from rookery.distribution.cluster import authority as au
from rookery.distribution.cluster.certificates import der, member_of, new_key, new_serial
from rookery.distribution.cluster.contexts import Contexts, Secured, client_context, peer
from rookery.distribution.cluster.files import ClusterFiles, NodeState
from tests.cluster.world import shake

OURS, OTHERS = "ab" * 16, "cd" * 16
DAY = 86400


class Site:
    """A cluster without a directory: certificates by hand."""

    def __init__(self, folder: Path, now: int, cluster: str = OURS) -> None:
        self.folder = folder
        self.now = now
        self.cluster = cluster
        self.authority = au.create(cluster, now - 10 * DAY)
        self.bundle = au.Bundle((der(self.authority.certificate),))

    def node(self, name: str, *roles: Role, at: int = 0, by: au.Authority | None = None, cluster: str = "") -> Contexts:
        """`at`: when it was issued, seconds from now."""
        files, key, signer = ClusterFiles(self.folder / self.cluster / name), new_key(), by or self.authority
        if cluster:
            signer = au.Authority(cluster, signer.key, signer.certificate)
        words = [role.value for role in roles]
        serial = new_serial(bytes(16))
        certificate = signer.issue(key.public_key(), name, words, serial, self.now + at)
        files.write_state(key, certificate, signer.chain, self.bundle)
        return Contexts(files)


@pytest.fixture
def site(tmp_path: Path, clock: ManualClock) -> Site:
    return Site(tmp_path, int(clock.wall()))


def refused(server: Contexts, client: Contexts) -> str:
    with pytest.raises(ssl.SSLError) as caught:
        shake(server.server, client.client)
    return str(caught.value)


@pytest.mark.parametrize("name", [None, "first.test"])
def test_both_sides_show_who_they_are(site: Site, name: str | None) -> None:
    backend, frontend = site.node("b1", Role.BACKEND), site.node("f1", Role.FRONTEND, Role.MX_IN)
    ours, theirs = shake(backend.server, frontend.client, name)
    assert ours.version() == "TLSv1.3"
    assert peer(ours, OURS) == frontend.state.member
    assert peer(theirs, OURS) == backend.state.member
    assert frontend.state.member.roles == {Role.FRONTEND, Role.MX_IN}


def test_the_same_name_of_another_cluster_is_refused_by_both_sides(site: Site, tmp_path: Path) -> None:
    stranger = Site(tmp_path, site.now, OTHERS).node("b1", Role.BACKEND, Role.DIRECTORY)
    own = site.node("b1", Role.BACKEND)
    assert "CERTIFICATE_VERIFY_FAILED" in refused(own, stranger)
    assert "CERTIFICATE_VERIFY_FAILED" in refused(stranger, own)


def test_a_cluster_that_was_copied_with_its_key_is_another_one_all_the_same(site: Site) -> None:
    copied, own = site.node("b1", Role.BACKEND, cluster=OTHERS), site.node("f1", Role.FRONTEND)
    ours, _ = shake(own.server, copied.client)
    with pytest.raises(RookeryError, match="of another cluster") as caught:
        peer(ours, OURS)
    assert caught.value.cause is Cause.DENIED


def outdated(site: Site, tls: Secured) -> str:
    """Why the other end is nobody now."""
    shown = tls.getpeercert(True)
    assert isinstance(shown, bytes)
    with pytest.raises(RookeryError) as caught:
        member_of(shown, OURS, site.now)
    assert caught.value.cause is Cause.DENIED
    return caught.value.what


def test_an_ended_certificate_is_refused_by_name(site: Site) -> None:
    """By who takes the link, or dials it: TLS could not say whose it is."""
    ours, _ = shake(site.node("b1").server, site.node("f1", at=-au.LIFETIME - 60).client)
    assert "the certificate of f1 has ended, on " in outdated(site, ours)
    _, theirs = shake(site.node("b1", at=-au.LIFETIME).server, site.node("f1").client)
    assert "the certificate of b1 has ended, on " in outdated(site, theirs)


def test_clocks_may_differ_by_minutes(site: Site) -> None:
    """The authority's is ahead of this machine's, or behind it."""
    for at in (280, -au.LIFETIME + 280):
        assert member_of(der(site.node("f1", at=at).state.certificate), OURS, site.now).name == "f1"
    ours, _ = shake(site.node("b1").server, site.node("f2", at=400).client)
    assert "the certificate of f2 is not valid before " in outdated(site, ours)


def test_who_has_no_certificate_yet_is_shown_one_that_is_valid(site: Site) -> None:
    for at, why in ((-au.LIFETIME - 60, "certificate has expired"), (400, "not yet valid")):
        with pytest.raises(ssl.SSLError, match=why):
            shake(site.node("b1", at=at).desk, client_context(site.bundle))


def test_a_node_is_no_authority(site: Site) -> None:
    """It signs a certificate with its own key, and sends its own along."""
    thief = site.node("f1", Role.FRONTEND)
    signer = au.Authority(OURS, thief.state.key, thief.state.certificate, thief.state.certificate)
    assert "CERTIFICATE_VERIFY_FAILED" in refused(site.node("b1"), site.node("d1", Role.DIRECTORY, by=signer))


def test_who_shows_nothing_is_not_let_in(site: Site) -> None:
    server = site.node("b1")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server.server, client_context(site.bundle))
    with pytest.raises(RookeryError, match="no certificate was presented"):
        peer(shake(server.desk, client_context(site.bundle))[0], OURS)
    # Nor is a certificate asked for at the desk, so that it proves nothing there.
    with pytest.raises(RookeryError, match="no certificate was presented"):
        peer(shake(server.desk, site.node("f1").client)[0], OURS)


def test_older_tls_is_refused(site: Site) -> None:
    server, client = site.node("b1"), site.node("f1")
    client.client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "PROTOCOL" in refused(server, client).upper()


def test_a_session_is_not_resumed(site: Site) -> None:
    """Were it, a revoked or ended certificate would not be shown again."""
    _, theirs = shake(site.node("b1").server, site.node("f1").client)
    assert theirs.session is None or not theirs.session.has_ticket


def test_a_listener_takes_up_what_changed(site: Site) -> None:
    """A new certificate, and a trust that is taken away, in the context that is in use."""
    server, client = site.node("b1"), site.node("f1")
    listening = server.server
    shake(listening, client.client)
    next_one = site.authority.successor(site.now)
    former, site.bundle = site.bundle, au.Bundle((der(next_one.certificate),))
    site.node("b1", by=next_one)
    shake(listening, client.client)  # not before it is told
    server.reload()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(listening, client.client)
    _, theirs = shake(listening, site.node("f2", by=next_one).client)
    assert peer(theirs, OURS) == server.state.member
    site.bundle = former


def test_what_cannot_be_read_changes_nothing(site: Site) -> None:
    server, client = site.node("b1"), site.node("f1")
    path = site.folder / OURS / "b1" / "node.pem"
    good = path.read_bytes()
    for bad in (b"", good[:100], good.replace(b"BEGIN CERTIFICATE", b"BEGIN NONSENSE")):
        path.write_bytes(bad)
        with pytest.raises(RookeryError) as caught:
            server.reload()
        assert caught.value.cause is Cause.CORRUPT
        shake(server.server, client.client)
    path.unlink()
    with pytest.raises(RookeryError, match="has not joined"):
        Contexts(ClusterFiles(path.parent))


def test_what_was_checked_is_what_is_used_whatever_replaces_the_files_meanwhile(site: Site) -> None:
    backend, frontend = site.node("b1", Role.BACKEND), site.node("f1", Role.FRONTEND)

    class Replaced(ClusterFiles):
        def state(self) -> NodeState | None:
            state = super().state()
            self.node.write_bytes(backend.state.pem[:300])  # as another process does, just now
            return state

    used = Contexts(Replaced(site.folder / OURS / "f1"))
    ours, _ = shake(backend.server, used.client)
    assert peer(ours, OURS) == frontend.state.member
