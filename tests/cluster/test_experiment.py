"""An experiment through Airflow whose stages are pods: on a real cluster, with S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recipes.world import QUICK

if TYPE_CHECKING:
    from tests.cluster.place import ClusterPlace

pytestmark = pytest.mark.cluster


def test_experiment_runs_in_pods(place: ClusterPlace) -> None:
    """From a file on the author's machine to a verdict, with the DAG and the file of a laptop."""
    run_id = place.submit(place.experiment("pods", [QUICK]))
    assert place.wait(run_id) == "success", place.dtx("watch", run_id).stdout
    assert "tiny / words / quick" in place.must("leaderboard", run_id)
    assert place.cluster.pods(experiment="pods") == []
