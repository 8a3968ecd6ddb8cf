"""The facts that ship with the package: `bundled`, `bundled:capital,currency`, and `bundled-unseen`.

`bundled` asks each fact in a phrasing that the atlas models were trained on, `bundled-unseen` in the one kept from them.
"""

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets.fact_set import FactSet
from mambascope.data.facts import bundled_facts, held_out_phrasing, prompts, relations
from mambascope.data.recall import one_seen_phrasing
from mambascope.errors import DataError

PHRASINGS = {"bundled": one_seen_phrasing, "bundled-unseen": held_out_phrasing}


def is_bundled(source: str) -> bool:
    """True if the source names bundled facts."""
    return source.partition(":")[0] in PHRASINGS


def read_bundled(source: str) -> FactSet:
    """The bundled facts of all relations, or of those named; DataError for a relation that is not there."""
    name, colon, wanted = source.partition(":")
    names = [part.strip() for part in wanted.split(",")] if colon else list(relations())
    for relation in names:
        if relation not in relations():
            known = ", ".join(relations())
            raise DataError(f"unknown relation {relation!r} in {source!r}; it is one of: {known}")
    facts = (
        FactPrompt(
            fact_id=fact.fact_id,
            prompt=prompts(fact)[PHRASINGS[name](fact)],
            subject=fact.subject,
            answer=fact.object,
            relation=fact.relation,
        )
        for fact in bundled_facts()
        if fact.relation in names
    )
    return FactSet(source, tuple(facts))
