"""From what Airflow's trigger form sends to a spec: its flat fields, or a whole spec in one of them."""

from __future__ import annotations

from typing import Any

FORM_MARK = "form"
"""A hidden field that only the form sends: whatever comes without it is the spec itself."""


def spec_of(conf: dict[str, Any]) -> dict[str, Any] | str:
    """The spec that a request stands for.

    Args:
        conf: What the request carries.

    Returns:
        The spec as a mapping, or the URI of one.
    """
    if FORM_MARK not in conf:
        return str(conf["spec_uri"]) if set(conf) == {"spec_uri"} else dict(conf)
    if conf.get("spec_uri"):
        return str(conf["spec_uri"])
    if conf.get("spec"):
        return dict(conf["spec"])
    return _from_fields(conf)


def _from_fields(conf: dict[str, Any]) -> dict[str, Any]:
    axes = {axis: conf[axis] for axis in ("llms", "datasets", "hyperparameters", "seeds") if conf.get(axis)}
    spec: dict[str, Any] = {"kind": "FinetuneExperiment", "matrix": axes}
    spec |= {key: conf[key] for key in ("name", "description", "parallelism", "registered_name") if conf.get(key)}
    if conf.get("metric"):
        spec["selection"] = {"metric": conf["metric"]}
    if conf.get("max_new_tokens"):
        spec["scoring"] = {"max_new_tokens": conf["max_new_tokens"]}
    resources = {key: conf[key] for key in ("processes", "deepspeed") if conf.get(key)}
    return {**spec, "resources": resources} if resources else spec
