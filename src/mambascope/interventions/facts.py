"""Many facts in one study: each is asked or has failed, those that were asked share passes, and results come back in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.errors import PromptError

Asked = TypeVar("Asked")


def asked_or_failed(
    facts: Sequence[FactPrompt], ask: Callable[[FactPrompt], Asked | FactFailure]
) -> list[Asked | FactFailure]:
    """What `ask` makes of each fact; a PromptError is the failure of its fact alone."""

    def one(fact: FactPrompt) -> Asked | FactFailure:
        try:
            return ask(fact)
        except PromptError as error:
            return FactFailure(fact.fact_id, str(error))

    return [one(fact) for fact in facts]


def packed(
    items: Iterable[Asked], sizes: Callable[[Asked], Sequence[int]], limits: Sequence[int]
) -> Iterator[list[Asked]]:
    """Neighbours whose sizes together stay within the limits, one item at least.

    sizes: of one item, as many numbers as there are limits: its tokens, its bytes
    """
    batch: list[Asked] = []
    taken = [0] * len(limits)
    for item in items:
        more = sizes(item)
        after = [old + new for old, new in zip(taken, more, strict=True)]
        if batch and any(size > limit for size, limit in zip(after, limits, strict=True)):
            yield batch
            batch, after = [], [*more]
        batch.append(item)
        taken = after
    if batch:
        yield batch


def in_order(
    facts: Sequence[FactPrompt],
    asked: Sequence[object],
    done: Iterable[xr.Dataset],
) -> list[xr.Dataset | FactFailure]:
    """One entry per fact: its failure, or the next result with attrs `fact_id`, `relation` ("" for none) and `subject`."""
    left = iter(done)
    return [
        found
        if isinstance(found, FactFailure)
        else next(left).assign_attrs(
            fact_id=fact.fact_id, relation=fact.relation or "", subject=fact.subject
        )
        for fact, found in zip(facts, asked, strict=True)
    ]
