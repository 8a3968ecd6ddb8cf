"""Fact sets: bundled facts and the files that others publish, read into one form. One file per format."""

from mambascope.data.fact_sets.fact_set import FactSet
from mambascope.data.fact_sets.source import read_facts

__all__ = ["FactSet", "read_facts"]
