"""The units of work of a sweep, fixed by its configuration and its facts alone, so that no run of it can differ from another.

asked:    is the subject there, how long is the prompt, does the model know the answer? In the order of the source.
measured: the statistics of the subjects' embeddings, over the whole fact set; one unit.
traced:   a batch of facts of similar length, which share one replay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mambascope.data.fact_prompt import FactPrompt
from mambascope.runner.config import SweepConfig

Stage = Literal["asked", "measured", "traced"]
STAGES: tuple[Stage, ...] = ("asked", "measured", "traced")
ASKED_AT_ONCE = 64
TAKEN = "taken"


@dataclass(frozen=True)
class Unit:
    """What one worker does at a time.

    statistics: for "traced": (mean embedding, sigma) of the fact set's subjects, where the corruption needs them
    swaps:      for "traced": other subjects by fact_id, where the corruption needs them
    """

    stage: Stage
    number: int
    facts: tuple[FactPrompt, ...]
    statistics: tuple[list[float], float] | None = None
    swaps: Mapping[str, tuple[str, ...]] | None = None

    @property
    def fact_ids(self) -> list[str]:
        """The ids of its facts."""
        return [fact.fact_id for fact in self.facts]


@dataclass(frozen=True)
class Done:
    """A unit's result: the content of its shard, and the hash of the weights that made it."""

    number: int
    content: bytes
    weights: str


def ask_units(facts: Sequence[FactPrompt]) -> list[Unit]:
    """All facts in the order of the source."""
    return [
        Unit("asked", number, tuple(facts[first : first + ASKED_AT_ONCE]))
        for number, first in enumerate(range(0, len(facts), ASKED_AT_ONCE))
    ]


def measure_units(
    facts: Sequence[FactPrompt], asked: Mapping[str, Mapping[str, Any]], config: SweepConfig
) -> list[Unit]:
    """One unit of all facts whose subject was found, or none where the corruption needs no statistics."""
    tracing = config.tracing
    needed = tracing.corruption == "noise" or (
        tracing.corruption == "mean" and tracing.reference is None
    )
    found = tuple(fact for fact in facts if asked[fact.fact_id]["length"])
    return [Unit("measured", 0, found)] if needed and found else []


def trace_units(
    facts: Sequence[FactPrompt],
    asked: Mapping[str, Mapping[str, Any]],
    config: SweepConfig,
    statistics: tuple[list[float], float] | None = None,
    *,
    swaps: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Unit]:
    """The facts to trace, shortest prompts first, in batches."""
    taken = [fact for fact in facts if asked[fact.fact_id]["status"] == TAKEN]
    taken.sort(key=lambda fact: asked[fact.fact_id]["length"])  # stable: the source's order stays
    batches = [
        tuple(taken[first : first + config.batch]) for first in range(0, len(taken), config.batch)
    ]
    own = [
        swaps and {fact.fact_id: swaps.get(fact.fact_id, ()) for fact in batch} for batch in batches
    ]
    return [
        Unit("traced", number, batch, statistics, other)
        for number, (batch, other) in enumerate(zip(batches, own, strict=True))
    ]
