"""Which other subjects a fact's own is swapped with: those of the same relation whose answer is another one."""

from collections.abc import Iterable

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.invented import stable_number


def swap_subjects(
    facts: Iterable[FactPrompt], count: int, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """For each fact_id up to `count` other subjects, fewer where the relation has no more; none without a relation.

    What a fact gets depends on its fact_id, the seed and the subjects and answers of its relation, never on the order of the
    facts: each candidate has a number drawn from (seed, fact_id, candidate), and the lowest are taken. A subject
    that has the same answer in any fact of the relation is no candidate; an answer of None is like no other.
    """
    facts = list(facts)
    answers: dict[str | None, dict[str, set[str]]] = {}
    for fact in facts:
        if fact.relation is not None:
            own = answers.setdefault(fact.relation, {}).setdefault(fact.subject, set())
            own |= {fact.answer} - {None}
    return {
        fact.fact_id: _chosen(fact, answers.get(fact.relation, {}), count, seed) for fact in facts
    }


def _chosen(
    fact: FactPrompt, answers: dict[str, set[str]], count: int, seed: int
) -> tuple[str, ...]:
    """The `count` candidates with the lowest numbers."""
    own = answers.get(fact.subject, set())
    candidates = [
        other for other, theirs in answers.items() if other != fact.subject and not own & theirs
    ]
    candidates.sort(key=lambda other: (stable_number(f"{seed}/{fact.fact_id}/{other}"), other))
    return tuple(candidates[:count])
