"""The models that are made on first use, in place of being fetched from anywhere."""

from __future__ import annotations

MADE_MODELS = {"tiny-bilingual": 1, "tiny-test": 1}
"""The version of each recipe: raised when what it makes changes."""
