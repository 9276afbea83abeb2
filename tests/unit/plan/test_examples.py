"""The plans of the examples: ids of today that every store of today holds.

A change here means that everything users have trained is trained again. When that is meant, renew the files with
`.venv/bin/python tests/unit/plan/test_examples.py`, and say so in the CHANGELOG.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import config_folder
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.resolve import Origin
from dtx_tasks.spec import load_text

EXAMPLES = sorted((config_folder() / "experiments").glob("*.yaml"))
EXPECTED = Path(__file__).parent / "expected"


def facts(path: Path) -> dict[str, Any]:
    plan = plan_document(load_text(path.read_text(encoding="utf-8"), path.name), Origin(path.parent))
    jobs = [{"name": job.name, "job_id": job.job_id, "prepared_id": job.prepared_id, "num_steps": job.num_steps} for job in plan.jobs]
    return {"plan_id": plan.plan_id, "scoring_id": plan.scoring.scoring_id, "bases": [base.name for base in plan.bases], "jobs": jobs}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_plan_of_an_example_is_what_it_was(path: Path) -> None:
    """Ids, names and steps of every job."""
    assert facts(path) == json.loads((EXPECTED / f"{path.stem}.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for example in EXAMPLES:
        (EXPECTED / f"{example.stem}.json").write_text(json.dumps(facts(example), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
