"""The form that Airflow's UI shows before a run: bilingual, filled with the example."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from dtx_tasks.catalog import config_folder, load_catalog
from dtx_tasks.spec import GENERATED
from dtx_tasks.spec.form import FORM_MARK

EXPERIMENT, MATRIX, JUDGING, RUNNING, WHOLE = (
    "1 实验 Experiment",
    "2 任务矩阵 Matrix",
    "3 评估与选择 Scoring and selection",
    "4 资源 Resources",
    "5 完整定义 Whole spec",
)


def trigger_form() -> dict[str, Param]:
    """The parameters of the DAG; their values count only when the form itself sends them."""
    catalog = load_catalog(config_folder())
    return {
        FORM_MARK: Param("1", const="1", section=EXPERIMENT),
        "name": Param("shop-intents", type="string", minLength=1, title="实验名称 Name", section=EXPERIMENT),
        "description": Param("", type=["string", "null"], title="说明 Description", section=EXPERIMENT),
        "registered_name": _optional("注册名 Registered name", "MLflow 中的模型名，默认为实验名称。The experiment's name by default.", EXPERIMENT),
        "llms": _choice(["tiny-bilingual"], catalog.llms, "基座模型 Base LLMs"),
        "datasets": _choice(["shop-bilingual", "shop-zh"], catalog.datasets, "数据集 Datasets"),
        "hyperparameters": _choice(["lora-quick", "lora-timid"], catalog.groups, "超参组 Hyperparameter groups"),
        "seeds": Param([42], type="array", items={"type": "integer"}, title="随机种子 Seeds", section=MATRIX),
        "metric": Param("exact_match", type="string", enum=list(GENERATED), title="选择指标 Metric that decides", section=JUDGING),
        "max_new_tokens": Param(64, type="integer", minimum=1, title="最大生成长度 Most tokens of an answer", section=JUDGING),
        "parallelism": Param(2, type="integer", minimum=1, title="任务并行数 Packs at a time", section=RUNNING),
        "processes": Param(1, type="integer", minimum=1, title="每任务进程数 Processes of a pack", section=RUNNING),
        "deepspeed": Param(
            None, type=["string", "null"], enum=[None, "zero1", "zero2", "zero3"], values_display={"null": "不使用 none"}, title="DeepSpeed", section=RUNNING
        ),
        "spec": Param(
            None, type=["object", "null"], title="实验定义 Spec as JSON", description_md="填写后取代以上各项。Replaces everything above.", section=WHOLE
        ),
        "spec_uri": _optional(
            "实验定义地址 Spec URI", "平台允许读取的 YAML 或 JSON 文件。A file that the platform may read; replaces everything above.", WHOLE
        ),
    }


def _choice(default: list[str], known: dict[str, Any], title: str) -> Param:
    return Param(default, type="array", items={"type": "string"}, examples=sorted(known), title=title, section=MATRIX)


def _optional(title: str, description: str, section: str) -> Param:
    return Param(None, type=["string", "null"], title=title, description_md=description, section=section)
