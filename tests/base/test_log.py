"""The log: what a line looks like, what can never be in one, and what a full disk costs."""

import json
import os
import re
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rookery.base import log
from rookery.base.errors import Cause, Fault, Refusal
from rookery.base.log import Format, Level, captured, logger

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    log.direct(Format.JSON, path)
    yield path
    log.direct(Format.TEXT, None)
    log.set_levels(Level.INFO, {})


def lines(path: Path) -> list[str]:
    log.flush()
    return path.read_text().split("\n")[:-1]


def test_a_json_line(file: Path) -> None:
    logger("t.json").info("accepted", session="abc", size=3, ok=True, peer=None, to=["a@b", "c@d"], ratio=0.5)
    (line,) = lines(file)
    found = json.loads(line)
    assert RFC_3339.fullmatch(found.pop("time"))
    assert found == {
        "level": "info",
        "component": "t.json",
        "event": "accepted",
        "session": "abc",
        "size": 3,
        "ok": True,
        "peer": None,
        "to": ["a@b", "c@d"],
        "ratio": 0.5,
    }


def test_a_text_line(file: Path) -> None:
    log.direct(Format.TEXT, file)
    logger("t").warning(
        "refused", session="abc", what='a "b" c', size=3, to=["a", "b c"], none=None, ok=False, empty=""
    )
    (line,) = lines(file)
    stamp, rest = line.split(" ", 1)
    assert RFC_3339.fullmatch(stamp)
    assert rest == r'warning t refused session=abc what="a \"b\" c" size=3 to=[a,"b c"] none=- ok=false empty=""'


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize(
    "evil",
    ["a\nb", "a\r\nERROR forged", "\x1b[2Jgone", "\x9b31m", "\u2028line", "\ud800alone", "a\x00b", "\u202ereversed"],
)
def test_no_value_forges_a_line_or_moves_a_cursor(file: Path, format: Format, evil: str) -> None:
    log.direct(format, file)
    logger("t").info("event", value=evil, members=[evil])
    logger("t").info(evil)
    found = lines(file)
    assert len(found) == 2
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize(
    ("format", "end"), [(Format.TEXT, " event account=a by=b1"), (Format.JSON, '"account":"a","by":"b1"}')]
)
def test_processes_that_share_a_file_say_who_they_are(file: Path, format: Format, end: str) -> None:
    log.direct(format, file, "b1")
    logger("t").info("event", account="a")
    log.reopen()
    logger("t").info("event", account="a")
    assert [line.endswith(end) for line in lines(file)] == [True, True]


def test_octets_secrets_and_long_values_stay_out(file: Path) -> None:
    logger("t").info("login", password="hunter2", data=b"hunter2", long="x" * 10_000, many=["y"] * 1000)  # type: ignore[arg-type]
    text = file.read_text() if log.flush() else "".join(lines(file))
    assert "hunter2" not in text
    assert len(text) < 1500
    assert '"password":"(hidden)"' in text
    assert '"data":"(refused: bytes)"' in text
    assert "(10000 characters)" in text


def test_a_secret_stays_out_of_text_whatever_it_is(file: Path) -> None:
    log.direct(Format.TEXT, file)
    logger("t").info("login", password="hunter2", token=4711, size=12, name="a b", empty="", flag=True)
    (line,) = lines(file)
    assert line.endswith('login password=(hidden) token=(hidden) size=12 name="a b" empty="" flag=true')


def test_fields_cannot_pose_as_the_head(file: Path) -> None:
    logger("t").info("event", level="error", component="kernel", time="1970")
    found = json.loads(lines(file)[0])
    assert (found["level"], found["component"]) == ("info", "t")


def test_levels_of_components_change_at_run_time(file: Path) -> None:
    noisy, quiet = logger("t.noisy"), logger("t.quiet")
    log.set_levels(Level.WARNING, {"t.noisy": Level.DEBUG})
    noisy.debug("one")
    quiet.info("two")
    log.set_level("t.quiet", Level.INFO)
    quiet.info("three")
    assert not quiet.enabled(Level.DEBUG)
    assert [json.loads(line)["event"] for line in lines(file)] == ["one", "three"]
    assert log.levels()["t.noisy"] is Level.DEBUG


def test_events_are_counted_whether_or_not_they_are_written(file: Path) -> None:
    log.set_levels(Level.ERROR, {})
    for _ in range(3):
        logger("t.counted").info("done")
    logger("t.counted").debug("detail")
    assert log.counts()["t.counted", "done"] == 3
    assert ("t.counted", "detail") not in log.counts()
    assert lines(file) == []


def test_refusals_are_logged_by_whose_doing_they_were() -> None:
    before = dict(log.failures)
    with captured() as events:
        logger("t").refused("rcpt-refused", Refusal(Cause.NOT_FOUND, "no such user"), session="s")
        logger("t").refused("append-failed", Refusal(Cause.DISK_FULL))
    assert events[0] == ("t", "rcpt-refused", {"session": "s", "cause": "not-found", "what": "no such user"})
    assert log.failures[Fault.USER] == before[Fault.USER] + 1
    assert log.failures[Fault.US] == before[Fault.US] + 1


def test_reopening_follows_a_moved_file(file: Path) -> None:
    logger("t").info("before")
    log.flush()
    file.rename(file.with_suffix(".1"))
    log.reopen()
    logger("t").info("after")
    assert [json.loads(line)["event"] for line in lines(file)] == ["after"]
    assert '"before"' in file.with_suffix(".1").read_text()


def test_a_file_that_cannot_be_opened_keeps_the_old_one(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        log.direct(Format.TEXT, tmp_path / "no" / "log")
    logger("t").info("still")
    assert len(lines(file)) == 1


def test_what_cannot_be_written_is_counted_and_the_count_is_logged(file: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
        for n in range(20):
            logger("t").info("event", n=n)
            log.flush()  # also what tells of lost lines is lost
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.path.getsize(file) == 300
    logger("t").info("space-again")
    found = lines(file)
    whole = [line for line in found if line.endswith("}")]
    assert len(whole) == len(found) - 1, "one torn line, and it ends where the next begins"
    assert json.loads(found[-1])["event"] == "lines-lost"
    written = sum('"event":"event"' in line for line in whole)
    assert json.loads(found[-1])["lines"] == 20 - written


def test_lines_of_many_threads_all_arrive_whole(file: Path) -> None:
    def write(name: int) -> None:
        for n in range(500):
            logger("t").info("event", thread=name, n=n)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [json.loads(line) for line in lines(file)]
    assert sorted((f["thread"], f["n"]) for f in found) == [(t, n) for t in range(4) for n in range(500)]
