"""Two nodes on loopback: a backend that listens and a frontend that dials, with a clock in the hand."""

from collections.abc import AsyncIterator

import pytest

from tests.net.cluster.certificates import Authority
from tests.net.cluster.nodes import Nodes


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def nodes(authority: Authority) -> AsyncIterator[Nodes]:
    nodes = Nodes(authority)
    yield nodes
    await nodes.close()
