"""Prompts with known answers, level by level, and the form in which every question is put to a model."""

from mambascope.data.prompts.form import ORIGINAL, prompt_text
from mambascope.data.prompts.levels import CUSTOM, make_prompts
from mambascope.data.prompts.originals import as_originals

__all__ = ["CUSTOM", "ORIGINAL", "as_originals", "make_prompts", "prompt_text"]
