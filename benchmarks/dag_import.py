"""What a DAG file costs beyond importing Airflow: seconds of CPU, several runs in turn.

python benchmarks/dag_import.py
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DAGS = sorted((Path(__file__).resolve().parent.parent / "dags").glob("*.py"))
AIRFLOW = "from airflow.sdk import DAG, BaseOperator, Param, TriggerRule, get_current_context, literal, task, task_group"
NUM_RUNS = 5


def main() -> None:
    """Prints the median, the least and the most for each DAG file."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "AIRFLOW_HOME": home, "DTX_HOME": home}
        alone = [_cpu_s(["-c", AIRFLOW], environment) for _ in range(NUM_RUNS + 1)][1:]
        for path in DAGS:
            costs = [_cpu_s([str(path)], environment) - base for base in alone]
            sys.stdout.write(f"{path.name}: {statistics.median(costs):.2f} s beyond Airflow ({min(costs):.2f} to {max(costs):.2f}, {NUM_RUNS} runs)\n")


def _cpu_s(arguments: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
