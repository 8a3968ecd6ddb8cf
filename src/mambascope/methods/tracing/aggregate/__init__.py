"""Aggregates over the facts of a sweep: where the effect is, how sweeps differ, beside what control, and by which route.

Each takes sweeps (dims fact_id, site, layer, position) and returns labelled means with intervals over facts. No torch.
"""

from mambascope.methods.tracing.aggregate.control import random_control
from mambascope.methods.tracing.aggregate.difference import paired_difference
from mambascope.methods.tracing.aggregate.effects import fact_effects, position_effects
from mambascope.methods.tracing.aggregate.mean import mean_effect
from mambascope.methods.tracing.aggregate.routes import route_share

__all__ = [
    "fact_effects",
    "mean_effect",
    "paired_difference",
    "position_effects",
    "random_control",
    "route_share",
]
