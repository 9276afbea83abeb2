"""From a spec back to text: YAML that reads as it was written, here and by other programs."""

from __future__ import annotations

from typing import Any

import yaml

from dtx_tasks.spec.load import SpecLoader


class SpecDumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would take for something else than text."""


SpecDumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()), *SpecLoader.yaml_implicit_resolvers.get(first, ())]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *SpecLoader.yaml_implicit_resolvers}
}


def dump_text(data: dict[str, Any]) -> str:
    """A mapping as YAML, in its own order."""
    return str(yaml.dump(data, Dumper=SpecDumper, allow_unicode=True, sort_keys=False, width=120))
