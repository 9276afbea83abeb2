"""A namespace of the test cluster in which pods run this checkout: under Pod Security `restricted`, on S3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cluster.place import Cluster, ClusterPlace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, with a namespace of its own."""
    missing = [name for name in ("KUBECONFIG", "AWS_ENDPOINT_URL") if not os.environ.get(name)]
    if missing:
        pytest.skip(f'needs a Kubernetes cluster and S3: {" and ".join(missing)} not set; eval "$(../shared/cluster/up)" starts them')
    found = Cluster.make()
    yield found
    found.remove()


@pytest.fixture(scope="session")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPlace]:
    """An Airflow of this machine whose stages are pods."""
    place = ClusterPlace(tmp_path_factory.mktemp("cluster"), cluster)
    place.must("up")
    yield place
    place.dtx("down")
