"""The JSON Schema of an experiment file, for editors and for other programs."""

from __future__ import annotations

import json

from dtx_tasks.spec.experiment import FinetuneExperiment

EDITOR_HEADER = "# yaml-language-server: $schema={}"


def experiment_schema() -> str:
    """The schema as text, in a stable order."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **FinetuneExperiment.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
