"""The questions that a model is judged by: facts in seen and unseen phrasings, and passages.

Exact match: the greedy continuation of `prompt` is a space, `answer` and a full stop.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from mambascope.data.facts import (
    Fact,
    bundled_facts,
    held_out_phrasing,
    prompts,
    seen_phrasings,
)
from mambascope.data.invented import held_out_names, stable_number
from mambascope.data.passages import make_claims, make_passage, questions_of

STATEMENT_GROUPS = {"2": (2, 2), "5-7": (5, 7), "10-12": (10, 12)}
PASSAGE_SEED = "evaluation"


@dataclass(frozen=True)
class RecallQuestion:
    """A prompt and the answer that must follow it; `group` says what figure it counts towards."""

    prompt: str
    answer: str
    group: str

    @property
    def target(self) -> str:
        """What the continuation must begin with."""
        return f" {self.answer}."


def fact_questions(facts: Iterable[Fact], *, seen: bool) -> Iterator[RecallQuestion]:
    """One question per fact, grouped by relation: its unseen phrasing, or one of its seen ones."""
    for fact in facts:
        index = one_seen_phrasing(fact) if seen else held_out_phrasing(fact)
        yield RecallQuestion(prompts(fact)[index], fact.object, fact.relation)


def one_seen_phrasing(fact: Fact) -> int:
    """A seen phrasing that is asked in evaluation, spread evenly over the facts."""
    choices = seen_phrasings(fact)
    return choices[stable_number("asked/" + fact.fact_id) % len(choices)]


def seen_questions() -> list[RecallQuestion]:
    """Every bundled fact in one phrasing that training showed."""
    return list(fact_questions(bundled_facts(), seen=True))


def unseen_questions() -> list[RecallQuestion]:
    """Every bundled fact in the phrasing that training never showed for it."""
    return list(fact_questions(bundled_facts(), seen=False))


def passage_questions(group: str, hops: int = 1, count: int = 200) -> list[RecallQuestion]:
    """Questions on passages about held-out names, with as many statements as the group says."""
    questions = []
    for rng, n in _drawn(group, hops, count):
        passage = make_passage(rng, n, hops, names=held_out_names())
        asked = passage.questions[0]
        questions.append(RecallQuestion(passage.prompt(asked), asked.answer, f"{group}/{hops}"))
    return questions


def naming_any_share(group: str, hops: int = 1, count: int = 200) -> float:
    """The share of these questions that naming any answer of the right kind from the passage would get."""
    shares = []
    for rng, n in _drawn(group, hops, count):
        claims = make_claims(rng, n, hops, held_out_names())
        right = claims[questions_of(rng, claims, hops)[0].position].kind
        shares.append(1 / sum(claim.kind == right for claim in claims))
    return sum(shares) / len(shares)


def _drawn(group: str, hops: int, count: int) -> Iterator[tuple[Random, int]]:
    """For each question its random numbers and how many statements its passage has."""
    for i in range(count):
        rng = Random(f"{PASSAGE_SEED}/{group}/{hops}/{i}")
        yield rng, rng.randint(*STATEMENT_GROUPS[group])


def commonest_answers(facts: Iterable[Fact] | None = None) -> dict[str, tuple[str, float]]:
    """For each relation its commonest answer, and the share of its facts that have it."""
    by_relation: dict[str, Counter[str]] = {}
    for fact in bundled_facts() if facts is None else facts:
        by_relation.setdefault(fact.relation, Counter())[fact.object] += 1
    best = {
        relation: max(counts.items(), key=lambda kv: (kv[1], kv[0]))
        for relation, counts in by_relation.items()
    }
    return {r: (answer, n / by_relation[r].total()) for r, (answer, n) in best.items()}


def commonest_answer_share(facts: Iterable[Fact] | None = None) -> float:
    """The share of facts right by always giving the relation's commonest answer."""
    facts = list(bundled_facts() if facts is None else facts)
    best = commonest_answers(facts)
    return sum(best[fact.relation][0] == fact.object for fact in facts) / len(facts)
