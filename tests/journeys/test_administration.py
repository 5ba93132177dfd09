"""An administrator's day at a real site: every command, on a running node and on a stopped one."""

import imaplib
import json
import signal
import smtplib
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.journeys.site import ROOKERY, RunningSite, run
from tests.journeys.waiting import wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def imap(site: RunningSite, address: str, password: str | None = None) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", site.ports["imap"], timeout=30)
    client.login(address, password or site.passwords[address])
    return client


def subjects(site: RunningSite, address: str) -> list[bytes]:
    client = imap(site, address)
    client.select("INBOX")
    _, found = client.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    client.logout()
    return [part[1].strip() for part in found if isinstance(part, tuple)]


def send(site: RunningSite, to: str, subject: str = "hello", sender: str = "someone@example.com") -> None:
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], "client.example.com", 30) as client:
        client.sendmail(sender, [to], f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n")


def arrived(site: RunningSite, address: str, count: int = 1) -> bool:
    return len(subjects(site, address)) >= count


# --- making a site ---------------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = run(["init", str(tmp_path), "--domain", "a.test", "--hostname", "b.test"], code=1)
    assert "is in use: it holds x" in done.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x"]


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--domain", "a b", "--hostname", "h.test"], 1, "--domain 'a b': expected a host name"),
        (["--domain", "a.test"], 2, "--hostname"),
        (["--domain", "a.test", "--hostname", "h.test", "--port-offset", "70000"], 2, "--port-offset"),
    ],
)
def test_a_site_that_cannot_be_made_leaves_nothing(tmp_path: Path, arguments: list[str], code: int, what: str) -> None:
    done = run(["init", str(tmp_path / "site"), *arguments], code=code)
    assert what in done.stderr
    assert not (tmp_path / "site").exists()


def test_only_one_node_serves_a_site(shared_site: RunningSite) -> None:
    site = shared_site
    done = site.rookery("serve", code=1)
    assert site.process is not None
    assert f"is in use by process {site.process.pid}" in done.stderr


# --- accounts, domains, aliases, groups ------------------------------------------------------------------------------


def test_accounts(shared_site: RunningSite) -> None:
    site = shared_site
    carol = site.add_account("carol", None, "--name", "Carol", "--quota", "2GB")
    assert {ALICE, BOB, carol} <= {row["address"] for row in site.json("account", "list")}
    shown = site.json("account", "show", carol)
    assert shown["size_limit"] == 2 << 30
    assert shown["messages"] == 0
    assert "EXISTS" not in site.rookery("account", "add", carol, "--password-file", "-", text="x\n", code=1).stdout
    site.rookery("account", "change", carol, "--quota", "0", "--name", "Carol C.", "--disable")
    changed = site.json("account", "show", carol)
    assert (changed["size_limit"], changed["name"], changed["state"]) == (0, "Carol C.", "disabled")
    site.rookery("account", "change", carol, "--enable")
    site.rookery("account", "rename", carol, "caroline@example.test")
    site.rookery("account", "password", "caroline@example.test", "--password-file", "-", text="another\n")
    secret = site.rookery("account", "app-password", "add", "caroline@example.test", "telephone").stdout.strip()
    assert [row["label"] for row in site.json("account", "app-password", "list", "caroline@example.test")] == [
        "telephone"
    ]
    imap(site, "caroline@example.test", "another").logout()
    imap(site, "caroline@example.test", secret).logout()
    last = site.json("account", "show", "caroline@example.test")["last_login"]
    assert (last["protocol"], last["address"]) == ("imap", "127.0.0.1")
    assert abs(last["at"] - time.time()) < 60
    site.rookery("account", "app-password", "remove", "caroline@example.test", "telephone")
    site.rookery("account", "remove", "caroline@example.test")
    assert site.json("account", "show", "caroline@example.test")["state"] == "removed"
    site.rookery("account", "restore", "caroline@example.test")
    site.rookery("account", "remove", "caroline@example.test", "--now")
    assert "caroline" not in site.rookery("account", "list").stdout
    assert "there is no account" in site.rookery("account", "show", "caroline@example.test", code=1).stderr


def test_a_renamed_account_keeps_its_mail_and_uids(shared_site: RunningSite) -> None:
    site = shared_site
    eve = site.add_account("eve")
    send(site, eve)
    wait_until(lambda: arrived(site, eve), "the message to arrive")
    client = imap(site, eve)
    before = client.status("INBOX", "(UIDVALIDITY UIDNEXT)")
    client.logout()
    site.rookery("account", "rename", eve, "alison@example.test")
    site.passwords["alison@example.test"] = site.passwords[eve]
    client = imap(site, "alison@example.test")
    assert client.status("INBOX", "(UIDVALIDITY UIDNEXT)") == before
    client.logout()
    send(site, "alison@example.test", "again")
    wait_until(lambda: arrived(site, "alison@example.test", 2), "mail for the new name")


def test_a_restored_account_has_its_mail(shared_site: RunningSite) -> None:
    site = shared_site
    finn = site.add_account("finn")
    send(site, finn)
    wait_until(lambda: arrived(site, finn), "the message to arrive")
    site.rookery("account", "remove", finn)
    with pytest.raises(imaplib.IMAP4.error):
        imap(site, finn)
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(site, finn)
    site.rookery("account", "restore", finn)
    assert len(subjects(site, finn)) == 1


def test_thousands_are_imported_and_wrong_lines_are_named(shared_site: RunningSite, tmp_path: Path) -> None:
    site = shared_site
    file = tmp_path / "people.csv"
    hashed = "{SSHA256}" + "czVkjPMuwyvYcOvgHu9IWfjMkzN9nYlqOM7NjYgiZ2VzYWx0"
    good = "".join(f"user{n}@example.test,{hashed},1GB\n" for n in range(1500))
    file.write_text(
        "address,password,quota\n"
        + good
        + f"{ALICE},x,\nnobody@elsewhere.test,x,\nx@example.test,x,lots\nno-address,x,\n"
    )
    done = site.rookery("account", "import", str(file), code=1)
    assert "1500 of 1504 accounts added." in done.stdout
    complaints = done.stderr.strip().split("\n")
    assert [line.split(": ")[1].rpartition(":")[2] for line in complaints] == ["1502", "1503", "1504", "1505"]
    assert sum(row["address"].startswith("user") for row in site.json("account", "list")) == 1500
    assert site.json("account", "show", "user7@example.test")["size_limit"] == 1 << 30


def test_domains_aliases_and_groups(shared_site: RunningSite) -> None:
    site = shared_site
    ada, ben = site.add_account("ada"), site.add_account("ben")
    site.rookery("domain", "add", "Example.NET")
    assert [row["name"] for row in site.json("domain", "list")] == ["example.net", "example.test"]
    site.rookery("domain", "change", "example.net", "--add-alias", "example.org")
    assert site.json("domain", "show", "example.org")["aliases"] == ["example.org"]
    site.rookery("domain", "rename", "example.net", "example.info")
    site.rookery("alias", "add", "sales@example.test", ada, "outside@example.com")
    site.rookery("alias", "change", "sales@example.test", ada, ben)
    site.rookery("alias", "rename", "sales@example.test", "orders@example.test")
    assert site.json("alias", "list")[0]["targets"] == [ada, ben]
    assert "sales" not in site.rookery("alias", "show", "orders@example.test").stdout
    site.rookery("group", "add", "team@example.test", ada, "--name", "The team")
    site.rookery("group", "change", "team@example.test", "--add", ben, "--remove", ada)
    site.rookery("group", "rename", "team@example.test", "crew@example.test")
    assert site.json("group", "show", "crew@example.test")["members"] == [ben]
    assert len(site.json("group", "list")) == 1
    send(site, "orders@example.test", "an order")
    send(site, "crew@example.test", "a meeting")
    wait_until(lambda: arrived(site, ben, 2), "both to reach ben")
    wait_until(lambda: arrived(site, ada, 1), "the order to reach ada")
    site.rookery("alias", "remove", "orders@example.test")
    site.rookery("group", "remove", "crew@example.test")
    assert "example.test" in site.rookery("domain", "remove", "example.test", code=1).stderr
    site.rookery("domain", "remove", "example.info")
    assert [row["name"] for row in site.json("domain", "list")] == ["example.test"]


def test_a_stopped_site_is_administered_too(site: RunningSite) -> None:
    site.stop()
    site.add_account("carol")
    site.rookery("account", "password", ALICE, "--password-file", "-", text="another\n")
    site.rookery("alias", "add", "sales@example.test", ALICE)
    assert not site.json("status")["running"]
    assert site.json("queue", "list") == []
    assert "no node is running" in site.rookery("log", "level", code=1).stderr
    site.start()
    imap(site, ALICE, "another").logout()
    imap(site, "carol@example.test").logout()


# --- the node ---------------------------------------------------------------------------------------------------------


def test_health_status_and_metrics(site: RunningSite) -> None:
    assert site.rookery("health").stdout == "healthy\n"
    began = time.monotonic()
    site.rookery("health")
    assert time.monotonic() - began < 10, "bounded; `rookery health` itself gives up after a second"
    status = site.json("status")
    assert status["running"]
    assert (status["domains"], status["accounts"]) == (1, 2)
    assert status["queue"]["recipients"] == 0
    base = f"http://127.0.0.1:{site.ports['http']}"
    with urllib.request.urlopen(f"{base}/healthz", timeout=10) as answer:
        assert answer.read() == b"ok\n"
    send(site, ALICE)
    wait_until(lambda: arrived(site, ALICE), "the message to arrive")
    with urllib.request.urlopen(f"{base}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for name in (
        "rookery_queue_messages 0.0",
        "rookery_queue_oldest_seconds 0.0",
        'rookery_connections{name="imap"}',
        "rookery_store_commit_seconds_bucket",
        'rookery_accepted_total{listener="smtp"} 1.0',
        'rookery_deliveries_total{fate="delivered"} 1.0',
        'rookery_logins_total{result="good"}',
        "rookery_certificate_end_seconds 2.",
        'rookery_failures_total{fault="us"} 0.0',
    ):
        assert name in text
    site.stop()
    assert "no node is running" in site.rookery("health", code=1).stderr


def test_a_node_that_hangs_is_not_healthy(site: RunningSite) -> None:
    assert site.process is not None
    site.process.send_signal(signal.SIGSTOP)
    try:
        assert "does not answer" in site.rookery("health", code=1).stderr
    finally:
        site.process.send_signal(signal.SIGCONT)
    assert site.rookery("health").stdout == "healthy\n"


def test_a_reload_takes_up_good_settings_and_refuses_bad_ones_whole(site: RunningSite) -> None:
    site.configure(smtp__message_size='"1MB"')
    site.reload()
    wait_until(lambda: "reloaded" in site.log_text(), "the reload")
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=30) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "1048576"
    site.configure(smtp__message_size='"2MB"', smtp__recipients='"many"')
    site.reload()
    wait_until(lambda: "reload-refused" in site.log_text(), "the refusal")
    assert "smtp.recipients" in site.log_text()
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=30) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "1048576"
    assert "smtp.recipients" in site.rookery("check", code=1).stderr
    site.configure(smtp__recipients="7", listen__smtp="2626")
    site.reload()
    wait_until(lambda: "needs-restart" in site.log_text(), "the hint")


def test_a_renewed_certificate_is_taken_up(site: RunningSite) -> None:
    import ssl

    def seen() -> str:
        return ssl.get_server_certificate(("127.0.0.1", site.ports["imaps"]), timeout=30)

    before = seen()
    other = RunningSite(site.folder.parent / "other", hostname=site.hostname)
    other.init()
    for name in ("cert.pem", "key.pem"):
        (site.folder / "tls" / name).write_bytes((other.folder / "tls" / name).read_bytes())
    site.reload()
    wait_until(lambda: seen() != before, "the new certificate")
    assert seen() == (other.folder / "tls" / "cert.pem").read_text()


def test_sigterm_drains_and_ends_well(site: RunningSite) -> None:
    idle = imap(site, ALICE)
    assert site.stop() == 0
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        idle.noop()
    assert not (site.folder / "control.sock").exists()
    site.start()
    imap(site, ALICE).logout()


def test_log_levels_change_at_run_time(shared_site: RunningSite) -> None:
    site = shared_site
    site.rookery("log", "level", "imap", "debug")
    imap(site, ALICE).logout()
    wait_until(lambda: " debug imap " in site.log_text(), "a debug line")
    assert {"component": "imap", "level": "debug"} in site.json("log", "level")
    assert "nothing logs as" in site.rookery("log", "level", "nonsense", "debug", code=1).stderr


def test_trace_tells_a_messages_story(shared_site: RunningSite) -> None:
    site = shared_site
    gina = site.add_account("gina")
    send(site, gina, sender="teller@example.com")
    wait_until(lambda: arrived(site, gina), "the message to arrive")
    client = imap(site, gina)
    client.select("INBOX")
    _, found = client.fetch("1", "(BODY.PEEK[HEADER])")
    client.logout()
    assert isinstance(found[0], tuple)
    received = found[0][1].decode()
    ident = received.split(" id ", 1)[1].split(";")[0].split()[0]
    story = site.rookery("trace", ident).stdout
    assert gina in story
    assert "delivered" in story
    assert "nothing is known" in site.rookery("trace", "zzzzzzzzzzzz", code=1).stderr


def test_the_queue_on_a_running_and_a_stopped_node(site: RunningSite) -> None:
    site.stop()
    site.configure(queue__smarthost='"127.0.0.1:1"')
    site.start()
    with smtplib.SMTP("127.0.0.1", site.ports["submission"], "client.example.com", 30) as client:
        client.login(ALICE, site.passwords[ALICE])
        client.sendmail(ALICE, ["far@example.com"], f"From: {ALICE}\r\nSubject: far away\r\n\r\nHello.\r\n")
    wait_until(lambda: [m["recipients"][0]["state"] for m in site.json("queue", "list")] == ["deferred"], "a deferral")
    (message,) = site.json("queue", "list")
    ident = message["message"]
    assert message["sender"] == ALICE
    assert site.json("queue", "show", ident)["recipients"][0]["text"]
    assert site.json("queue", "list", "--state", "held") == []
    for command, state in (("hold", "held"), ("release", "due")):
        site.rookery("queue", command, ident)
        assert site.json("queue", "show", ident)["recipients"][0]["state"] in (state, "claimed", "deferred")
    site.rookery("queue", "retry", "all")
    site.stop()
    assert [m["message"] for m in site.json("queue", "list")] == [ident]
    site.rookery("queue", "hold", ident)
    assert site.json("queue", "show", ident)["recipients"][0]["state"] == "held"
    listed = next(line for line in site.rookery("queue", "list").stdout.split("\n") if ident in line)
    assert "held" in listed, "the listing tells what is held"
    site.rookery("queue", "remove", ident)
    assert site.json("queue", "list") == []
    assert "no state" in site.rookery("queue", "list", "--state", "x", code=1).stderr


def test_store_verify_finds_rot(site: RunningSite) -> None:
    send(site, ALICE, "to be rotten")
    wait_until(lambda: arrived(site, ALICE), "the message to arrive")
    assert "Nothing is wrong." in site.rookery("store", "verify").stdout
    site.stop()
    (segment,) = (site.folder / "store" / "segments").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"to be rotten")] ^= 1
    segment.write_bytes(data)
    assert json.loads(site.rookery("store", "verify", "--json", code=1).stdout)["problems"]


def test_sd_notify(tmp_path: Path) -> None:
    import socket

    site = RunningSite(tmp_path / "site")
    site.init()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(30)
        channel.bind(str(tmp_path / "notify"))
        site.start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert channel.recv(1000).startswith(b"READY=1\n")
        site.reload()
        assert channel.recv(1000).startswith(b"RELOADING=1\n")
        assert channel.recv(1000).startswith(b"READY=1\n")
        site.stop()
        assert channel.recv(1000).startswith(b"STOPPING=1\n")


def test_an_address_in_use_is_named(shared_site: RunningSite, tmp_path: Path) -> None:
    site = shared_site
    other = RunningSite(tmp_path / "other")
    other.offset = site.offset
    other.init()
    done = other.rookery("serve", code=1)
    assert "listen.smtp: cannot listen on 127.0.0.1 port" in done.stderr


def test_interrupted_while_starting_ends_well(tmp_path: Path) -> None:
    site = RunningSite(tmp_path / "site")
    site.init()
    process = subprocess.Popen([*ROOKERY, "--site", str(site.folder), "serve"], stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    site.start()
    assert site.stop() == 0
