"""Streams between nodes, beside what their number should be."""

import math

import msgspec
import pytest

from rookery.base.errors import RookeryError
from rookery.distribution.service.calls import decode_answer, encode
from rookery.distribution.service.figures import Figures, LinkFigures
from rookery.management.cli.cluster_view import show
from rookery.management.operations.cluster_status import ClusterStatus, Peering, PoolLine, ProcessLine
from rookery.management.overview import between, expected


def line(node: str, backend: str = "", pool: str = "", clients: int = 0, *links: tuple[str, int]) -> ProcessLine:
    return ProcessLine(
        node,
        backend,
        ["backend"] if pool else ["frontend"],
        "0.1.0",
        0,
        "",
        True,
        0.0,
        pool=pool,
        clients=clients,
        links=[Peering(name, True, streams, 0.0) for name, streams in links],
    )


def test_every_client_of_a_frontend_has_a_stream() -> None:
    nodes = [line("f1", clients=30), line("f2", clients=12), line("n", "b1", "p")]
    assert expected(nodes, [PoolLine("p", "static", 9, ["b1"], 0)]).expected == 42


def test_of_static_nodes_that_all_are_asked_most_clients_are_elsewhere() -> None:
    nodes = [line(name, name, name, 10) for name in "abcd"]
    pools = [PoolLine(name, "static", 9, [name], 0) for name in "abcd"]
    assert expected(nodes, pools).static == 30  # 40 x 3/4


def test_of_a_dynamic_pool_only_accounts_that_are_open_are_elsewhere() -> None:
    nodes = [line("n", f"b{number}", "p", 100) for number in range(4)]
    found = expected(nodes, [PoolLine("p", "dynamic", 1000, ["b0"], 200)])  # 50 open on each
    assert found.dynamic == 15  # 400 x 3/4 x 50/1000
    assert expected(nodes, [PoolLine("p", "dynamic", 0, ["b0"], 0)]).dynamic == 0


def test_streams_are_counted_once_though_both_ends_tell_of_them() -> None:
    nodes = [line("f", "", "", 0, ("n", 5), ("m", 2)), line("n", "b", "p", 0, ("f", 5)), line("m", "c", "q")]
    assert between(nodes) == 7  # m says nothing
    assert between([line("n", "b1", "p", 0, ("n", 3)), line("n", "b2", "p", 0, ("n", 3))]) == 3
    assert between([]) == 0


def test_what_people_read_names_who_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    silent = ProcessLine("n2", "", ["directory"], "0.1.0", 0, "192.0.2.2:7143", False, 75.0)
    never = ProcessLine("n3", "", ["frontend"], "", 0, "", False, None)
    pools = [PoolLine("p", "static", 9, ["b1"], 3)]
    outer = ProcessLine("n4", "", ["frontend"], "", 0, "", False, 1.0)
    nodes = [line("n1", "b1", "p", 4, ("n2", 1), ("n4", 0)), silent, never, outer]
    show(ClusterStatus("c" * 32, "n1", nodes, pools, expected(nodes, pools)))
    out = capsys.readouterr().out
    assert "silent, 1m ago" in out
    assert "linked" in next(row for row in out.split("\n") if row.startswith("n4"))
    assert "1 now, 0 expected for 4 clients" in out
    assert "directory: 0 changes\n" in out


def test_a_copy_of_the_directory_that_is_behind_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    first = msgspec.structs.replace(line("n1", "b1", "p"), change=12)
    copy = msgspec.structs.replace(line("n2", "b2", "p"), change=9, copy=True, behind=1, primary=75.0)
    pools = [PoolLine("p", "static", 9, ["b1"], 3)]
    show(ClusterStatus("c" * 32, "n1", [first, copy], pools, expected([first, copy], pools)))
    assert "directory of b2: 3 changes behind, the primary answered 1m ago" in capsys.readouterr().out


def test_a_node_may_name_a_pool_that_there_is_not() -> None:
    found = expected([line("f1", "", "x", 5), line("n", "b1", "p", 3)], [PoolLine("p", "static", 9, ["b1"], 0)])
    assert (found.clients, found.expected) == (8, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"started": math.nan}, {"started": math.inf}, {"started": -1.0}, {"ends": 1 << 60}, {"clients": -1},
        {"primary": math.nan}, {"roles": ["frontend"] * 1000}, {"links": [LinkFigures("n", True, -1, 0.0)]},
        {"links": [LinkFigures("n", True, 1, math.nan)]}, {"links": [LinkFigures("n", True, 1, math.inf)]},
    ],
)  # fmt: skip
def test_what_a_stolen_node_says_of_itself_is_within_bounds(changes: dict[str, object]) -> None:
    """No date and no sum fails by it, wherever it is shown."""
    fair = Figures("f1", "", "0.1.0", ["frontend"], 2_000_000_000, 1_900_000_000.5, [LinkFigures("n", True, 1, 0.0)])
    assert decode_answer(encode(fair), Figures) == fair
    with pytest.raises(RookeryError):
        decode_answer(encode(msgspec.structs.replace(fair, **changes)), Figures)
