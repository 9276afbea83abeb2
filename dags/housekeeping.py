"""The airflow DAG that removes orphaned pods; there is none where stages are local processes."""

from dtx_tasks.orchestration import housekeeping_dags

DOC = """
每十分钟清理集群中无主的 Pod。Every ten minutes, removes pods that no task waits for, or whose time is over.
"""

globals().update(housekeeping_dags("housekeeping", doc_md=DOC))
