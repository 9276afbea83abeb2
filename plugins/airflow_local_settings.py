"""Read by every process of Airflow at its start: those that fork tasks import once what every task would import anew, for seconds."""

import sys

from dtx_tasks.orchestration.preload import preload

FORKING = {"scheduler", "dag-processor", "celery"}

if FORKING & set(sys.argv):
    preload()
