"""Closing and opening again; a cancelled caller; what a copy holds; a newer schema."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from rookery.base.clock import ManualClock
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.administration import Administration
from rookery.distribution.directory.directory import Directory
from rookery.distribution.directory.opening import open_directory
from rookery.distribution.directory.settings import DirectorySettings
from rookery.distribution.directory.values import Resolved, Unknown
from rookery.storage.gate import Gate


def _open(path: Path, hasher: Hasher) -> Directory:
    return open_directory(path, clock=ManualClock(), gate=Gate(), hasher=hasher)


async def test_everything_is_there_again(tmp_path: Path, hasher: Hasher) -> None:
    first = _open(tmp_path / "d.db", hasher)
    admin = Administration(first)
    await admin.add_domain("d.test")
    made = await admin.add_account("alice@d.test")
    salt = first.secrets.steady_salt("nobody@d.test")
    first.record_login(made.account, "imap", "192.0.2.1")
    builtin = first.account("postmaster")
    await first.close()
    again = _open(tmp_path / "d.db", hasher)
    assert again.account("alice@d.test") == made
    assert again.account("postmaster") == builtin
    assert again.secrets.steady_salt("nobody@d.test") == salt
    login = again.last_login(made.account)
    assert login
    assert login.address == "192.0.2.1"
    await again.close()
    other = _open(tmp_path / "other.db", hasher)
    assert other.secrets.steady_salt("nobody@d.test") != salt
    await other.close()


async def test_a_cancelled_act_leaves_nothing_stale(site: Administration, directory: Directory) -> None:
    assert isinstance(directory.resolve("carol@d.test"), Unknown)
    task = asyncio.ensure_future(site.add_alias("carol@d.test", ["alice@d.test"]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await site.change_account("bob@d.test", name="B")  # the writer has gone round
    assert (directory.alias("carol@d.test") is not None) == isinstance(directory.resolve("carol@d.test"), Resolved)


async def test_a_copy_taken_while_it_is_written(
    site: Administration, directory: Directory, tmp_path: Path, hasher: Hasher
) -> None:
    if directory.shared:
        with pytest.raises(RookeryError, match="PostgreSQL, which makes its own copies"):
            await directory.snapshot(tmp_path / "copy.db")
        return
    writing = asyncio.gather(*(site.add_account(f"u{i}@d.test") for i in range(50)))
    await directory.snapshot(tmp_path / "copy.db")
    await writing
    copy = _open(tmp_path / "copy.db", hasher)
    assert copy.account("alice@d.test") == directory.account("alice@d.test")
    for record in copy.accounts():
        assert copy.resolve(record.address) == directory.resolve(record.address)
    await copy.close()


async def test_the_default_domain(tmp_path: Path, hasher: Hasher) -> None:
    opened = open_directory(
        tmp_path / "d.db",
        clock=ManualClock(),
        gate=Gate(),
        hasher=hasher,
        settings=DirectorySettings(default_domain="B.test"),
    )
    admin = Administration(opened)
    assert isinstance(opened.resolve("postmaster"), Resolved)
    await admin.add_domain("a.test")
    await admin.add_account("x@a.test")
    assert opened.default_domain == "a.test"  # the one of the setting does not exist
    assert opened.login_account("x") == opened.account("x@a.test")
    await admin.add_domain("b.test")
    await admin.add_account("x@b.test")
    assert opened.login_account("x") == opened.account("x@b.test")
    builtin = opened.login_account("postmaster")
    assert builtin
    assert builtin.address == "postmaster"
    await opened.close()


async def test_a_newer_schema_is_refused_by_name(tmp_path: Path, hasher: Hasher) -> None:
    await _open(tmp_path / "d.db", hasher).close()
    with sqlite3.connect(tmp_path / "d.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99, oldest_release = '99.0', written_by = '99.1'")
    with pytest.raises(RookeryError, match=r"99\.1") as caught:
        _open(tmp_path / "d.db", hasher)
    assert caught.value.cause is Cause.UNSUPPORTED
