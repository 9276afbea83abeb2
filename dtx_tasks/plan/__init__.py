"""From resolved inputs to a plan: jobs with identities, de-duplicated, in packs. Pure: no I/O, no clock, no chance."""

from dtx_tasks.plan.advice import advice
from dtx_tasks.plan.case import Case
from dtx_tasks.plan.estimate import estimate_s
from dtx_tasks.plan.identity import CODE_VERSIONS, encode_options
from dtx_tasks.plan.inputs import ResolvedInputs
from dtx_tasks.plan.make import cells, make_plan
from dtx_tasks.plan.rules import KINDS_OF_STAGES, broken_resources, broken_rules
from dtx_tasks.plan.steps import is_estimate, with_rows

__all__ = [
    "CODE_VERSIONS",
    "KINDS_OF_STAGES",
    "Case",
    "ResolvedInputs",
    "advice",
    "broken_resources",
    "broken_rules",
    "cells",
    "encode_options",
    "estimate_s",
    "is_estimate",
    "make_plan",
    "with_rows",
]
