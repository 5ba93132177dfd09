"""What a folder is made to keep, before it joins a cluster; what the options of `node join` make of a new one."""

from pathlib import Path

import pytest

from rookery.base.errors import Cause, RookeryError
from rookery.base.members import Keeps
from rookery.distribution.cluster import tokens
from rookery.management.operations.joining import Plan, join_cluster, kept
from rookery.management.site import Site, make_folders, write_config

DATABASE = "host=nowhere.test dbname=x"
TOKEN = tokens.make("ab" * 16, bytes(32), ["127.0.0.1:1"], 1, lambda count: b"r" * count).text()  # nobody is there


def refused(cause: Cause, folder: Path, plan: Plan) -> str:
    with pytest.raises(RookeryError) as told:
        join_cluster(folder, TOKEN, plan)
    assert told.value.cause is cause
    return told.value.what


def made(folder: Path, settings: dict[str, object], *, store: bool) -> Site:
    folder.mkdir()
    site = make_folders(folder) if store else Site(folder)
    write_config(site, settings)
    return site


def test_a_site_with_mail_joins_with_a_directory_that_others_see(tmp_path: Path) -> None:
    with pytest.raises(RookeryError, match="where no other node sees them") as told:
        kept(made(tmp_path / "alone", {"site.domain": "example.test"}, store=True))
    assert told.value.cause is Cause.INVALID
    assert kept(made(tmp_path / "shared", {"directory.database": DATABASE}, store=True)) is Keeps.MAIL
    assert kept(made(tmp_path / "copy", {"directory.replica": True}, store=True)) is Keeps.MAIL


def test_a_folder_without_a_store_keeps_the_directory_or_nothing(tmp_path: Path) -> None:
    assert kept(made(tmp_path / "front", {"site.hostname": "front.test"}, store=False)) is Keeps.NOTHING
    assert kept(made(tmp_path / "shared", {"directory.database": DATABASE}, store=False)) is Keeps.DIRECTORY


def test_options_say_what_a_new_node_is() -> None:
    assert Plan(directory=["n.test"]).keeps is Keeps.NOTHING
    assert Plan(shared=DATABASE).keeps is Keeps.DIRECTORY
    for plan in (Plan(pool="south"), Plan(database=DATABASE), Plan(pool="south", shared=DATABASE)):
        assert plan.keeps is Keeps.MAIL


def test_what_is_missing_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert "--directory" in refused(Cause.INVALID, folder, Plan())
    assert "--domain" in refused(Cause.INVALID, folder, Plan(pool="south", shared=DATABASE))
    assert "--directory" in refused(Cause.INVALID, folder, Plan(pool="south", domain="example.test"))
    assert not folder.exists()


def test_a_frontend_that_found_no_authority_may_try_again(tmp_path: Path) -> None:
    folder, plan = tmp_path / "new", Plan(directory=["127.0.0.1:1"])
    for _ in range(2):
        assert "cannot be reached" in refused(Cause.UNAVAILABLE, folder, plan)
        assert (folder / "rookery.toml").is_file()
