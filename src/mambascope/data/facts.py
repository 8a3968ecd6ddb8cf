"""The atlas facts: real triples, the phrasings that ask for them, and the phrasing kept from training.

A prompt is a phrasing with its subject filled in; the document is prompt, space, object, full stop:
"The capital of France is" + " " + "Paris" + ".". Sources and licences: NOTICE.
"""

import csv
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from mambascope.errors import DataError


@dataclass(frozen=True)
class Fact:
    """One triple: `object` is the only answer to `relation` for `subject` in the table."""

    fact_id: str
    relation: str
    subject: str
    object: str
    source: str


@dataclass(frozen=True)
class Relation:
    """A relation and its phrasings, each with one `{subject}` and the object due at its end."""

    name: str
    phrasings: tuple[str, ...]


def atlas_file(name: str) -> Traversable:
    """A data file of the atlas, by its name."""
    return files("mambascope.data") / "atlas" / name


@cache
def bundled_facts() -> tuple[Fact, ...]:
    """Every fact of the table, in the table's order."""
    with atlas_file("facts.csv").open("r", encoding="utf-8") as lines:
        return tuple(Fact(**row) for row in csv.DictReader(lines))


@cache
def relations() -> dict[str, Relation]:
    """Every relation by name, in the order of the relations file."""
    table = json.loads(atlas_file("relations.json").read_text(encoding="utf-8"))
    return {name: Relation(name, tuple(row["phrasings"])) for name, row in table.items()}


def prompts(fact: Fact) -> list[str]:
    """The prompts of a fact; the place in the list is the phrasing's index."""
    if fact.relation not in relations():
        known = ", ".join(relations())
        raise DataError(
            f"unknown relation '{fact.relation}' of {fact.fact_id}; it is one of: {known}"
        )
    return [text.format(subject=fact.subject) for text in relations()[fact.relation].phrasings]


def statement(prompt: str, answer: str) -> str:
    """The document that states a fact: what a model must continue `prompt` with."""
    return f"{prompt} {answer}."


def held_out_phrasing(fact: Fact) -> int:
    """The index of the phrasing in which this fact never occurs in training."""
    digest = hashlib.sha256(fact.fact_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % len(relations()[fact.relation].phrasings)


def seen_phrasings(fact: Fact) -> list[int]:
    """The indices of the phrasings in which this fact occurs in training."""
    held_out = held_out_phrasing(fact)
    return [i for i in range(len(relations()[fact.relation].phrasings)) if i != held_out]
