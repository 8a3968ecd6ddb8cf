"""The units of work of a sweep, fixed by its configuration and its facts alone, so that no run of it can differ from another.

asked:    is the subject there, how long is the prompt, does the model know the answer? In the order of the source.
measured: what the method needs to know of the whole fact set, such as statistics of the subjects' embeddings; one unit.
then, under the method's own word for it ("traced", "cut"): a batch of facts of similar length, which share one replay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mambascope.data.fact_prompt import FactPrompt

ASKED, MEASURED = "asked", "measured"
ASKED_AT_ONCE = 64
TAKEN = "taken"


@dataclass(frozen=True)
class Unit:
    """What one worker does at a time; `given`: what the method tells it beside the facts."""

    stage: str
    number: int
    facts: tuple[FactPrompt, ...]
    given: Any = None

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
        Unit(ASKED, number, tuple(facts[first : first + ASKED_AT_ONCE]))
        for number, first in enumerate(range(0, len(facts), ASKED_AT_ONCE))
    ]


def measure_units(
    facts: Sequence[FactPrompt], asked: Mapping[str, Mapping[str, Any]]
) -> list[Unit]:
    """One unit of all these facts whose subject was found, if there are any."""
    found = tuple(fact for fact in facts if asked[fact.fact_id]["length"])
    return [Unit(MEASURED, 0, found)] if found else []


def batch_units(
    stage: str,
    facts: Sequence[FactPrompt],
    asked: Mapping[str, Mapping[str, Any]],
    size: int,
    given: Callable[[Sequence[FactPrompt]], Any],
) -> list[Unit]:
    """The facts that are taken, shortest prompts first, in batches of this size, each told what it needs."""
    taken = [fact for fact in facts if asked[fact.fact_id]["status"] == TAKEN]
    taken.sort(key=lambda fact: asked[fact.fact_id]["length"])  # stable: the source's order stays
    batches = [tuple(taken[first : first + size]) for first in range(0, len(taken), size)]
    return [Unit(stage, number, batch, given(batch)) for number, batch in enumerate(batches)]
