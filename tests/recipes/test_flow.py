"""The whole flow without Airflow, on data that other people wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.running import dtx

pytestmark = pytest.mark.process

SHARED = Path(os.environ.get("DTX_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"real data is needed, and there is none in {SHARED} (DTX_SHARED)")
def test_real_alpaca_data_goes_through_prepare_train_and_score(tmp_path: Path) -> None:
    """`dtx run` on a file of 999 rows: a few steps, then scores of every row that was asked for, and a report."""
    rows = json.loads((SHARED / "data" / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    for name, part in {"train": rows[:-20], "validation": rows[-20:-10], "test": rows[-10:]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
    dataset = {"name": "alpaca", "train": "train.json", "validation": "validation.json", "test": "test.json"}
    group = {"name": "few", "max_steps": 3, "global_batch_size": 4, "logging_steps": 1, "cutoff_len": 2048, "lora_rank": 4}
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [dataset], "hyperparameters": [group]}
    spec = {"kind": "FinetuneExperiment", "name": "real rows", "matrix": matrix, "scoring": {"max_new_tokens": 8}}
    (tmp_path / "experiment.json").write_text(json.dumps(spec), encoding="utf-8")

    done = dtx("run", "experiment.json", cwd=tmp_path, DTX_HOME=str(tmp_path / ".dtx"))
    assert done.returncode == 0, done.stdout + done.stderr
    (prepared,) = (tmp_path / ".dtx").glob("store/default/prepared/*/prepared.json")
    assert json.loads(prepared.read_text())["train"]["num_rows"] == 979
    cards = [json.loads(path.read_text())["cards"] for path in (tmp_path / ".dtx").glob("store/default/scores/*/*/scores.json")]
    assert [(card["validation"]["num_rows"], card["test"]["num_rows"]) for card in cards] == [(10, 10), (10, 10)]
    (report,) = (tmp_path / ".dtx").glob("store/default/experiments/*/*/report.html")
    assert "Nothing beats tiny (base)" in report.read_text(encoding="utf-8")
