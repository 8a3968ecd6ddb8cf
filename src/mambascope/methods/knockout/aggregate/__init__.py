"""Aggregates over the facts of a sweep of knockouts: where the answer is read from, beside what control, and in which model.

Each takes sweeps (dims fact_id, source or position, start) and returns labelled means with intervals over facts. No torch.
"""

from mambascope.methods.knockout.aggregate.contrast import source_contrast
from mambascope.methods.knockout.aggregate.flow import mean_flow
from mambascope.methods.knockout.aggregate.models import (
    compared,
    model_differences,
    model_flows,
)
from mambascope.methods.knockout.aggregate.sharing import shared_facts, with_rank

__all__ = [
    "compared",
    "mean_flow",
    "model_differences",
    "model_flows",
    "shared_facts",
    "source_contrast",
    "with_rank",
]
