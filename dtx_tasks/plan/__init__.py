"""From resolved inputs to a plan: jobs with identities, de-duplicated, in packs. Pure: no I/O, no clock, no chance."""

from dtx_tasks.plan.estimate import estimate_s
from dtx_tasks.plan.identity import CODE_VERSIONS, encode_options
from dtx_tasks.plan.inputs import ResolvedInputs
from dtx_tasks.plan.make import cells, make_plan, with_rows

__all__ = ["CODE_VERSIONS", "ResolvedInputs", "cells", "encode_options", "estimate_s", "make_plan", "with_rows"]
