"""What a job's MLflow run is found by."""

from __future__ import annotations

from dtx_tasks.records import Difference
from dtx_tasks.tracking.publish import tags_of
from tests.builders import make_job


def test_run_names_the_group_and_its_changes() -> None:
    """Without any, there is no such tag."""
    job = make_job(max_steps=3)
    assert tags_of(job, "p")["dtx.hyperparameters"] == "quick"
    assert "dtx.changes" not in tags_of(job, "p")
    changed = job.model_copy(update={"difference": Difference(extends="lora", before={"max_steps": None})})
    assert tags_of(changed, "p")["dtx.changes"] == "quick is lora with max_steps: 3 (there None)"
