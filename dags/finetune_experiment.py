"""The Airflow DAG of fine-tuning experiments on request: from the UI's form, by REST, and by `dtx submit`."""

from dtx_tasks.orchestration import experiment_dag, trigger_form

DOC = """\
批量微调：基座模型 x 数据集 x 超参组，统一评估，选出最佳模型并注册。

Every base LLM with every dataset and every hyperparameter group is trained, scored on the same rows next to the
untouched bases, and the best one is registered in MLflow with the evidence for it.

By REST: `POST /api/v2/dags/finetune_experiment/dagRuns` with `{"logical_date": null, "conf": {...}}`, where `conf` is the
spec itself or `{"spec_uri": "..."}`.
"""

dag = experiment_dag("finetune_experiment", team="default", params=trigger_form(), doc_md=DOC)
