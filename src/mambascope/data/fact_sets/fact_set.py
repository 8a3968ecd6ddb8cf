"""A fact set as it was read, and the reading of records of which some may be broken."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.records import BrokenRecord
from mambascope.errors import DataError


@dataclass(frozen=True)
class FactSet:
    """Facts with unique ids, and what could not be read.

    source: as it was given
    broken: one message per record that was left out, each naming file, record and field
    """

    source: str
    facts: tuple[FactPrompt, ...]
    broken: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> str:
        """The first 16 hex digits of a sha256 over all facts: two sets with the same digest ask the same."""
        written = json.dumps([asdict(fact) for fact in self.facts], ensure_ascii=False)
        return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def limited(self, count: int | None) -> "FactSet":
        """At most `count` facts, taken in turn from each group in the order of the source; None: all."""
        if count is None or count >= len(self.facts):
            return self
        groups: dict[tuple[str | None, ...], list[FactPrompt]] = {}
        for fact in self.facts:
            groups.setdefault(fact.group, []).append(fact)
        turns = chain.from_iterable(zip_longest(*groups.values()))
        chosen = [fact for fact in turns if fact is not None][:count]
        return FactSet(self.source, tuple(chosen), self.broken)


def collect(
    where: str, records: Iterable[tuple[str, Any]], read: Callable[[Any], FactPrompt]
) -> FactSet:
    """Every record that can be read; DataError if none can.

    where:   the file, for messages
    records: (what to call the record in a message, the record)
    """
    facts: dict[str, FactPrompt] = {}
    broken: list[str] = []
    for name, record in records:
        try:
            fact = read(record)
            if fact.fact_id in facts:
                raise BrokenRecord(f"fact_id {fact.fact_id!r} was there before")
            facts[fact.fact_id] = fact
        except BrokenRecord as error:
            broken.append(f"{where}: {name}: {error}")
    if not facts:
        raise DataError(_nothing(where, broken))
    return FactSet(where, tuple(facts.values()), tuple(broken))


def filled(template: str, subject: str) -> str:
    """The prompt with the subject in place of "{}" or "{subject}"; a prompt without either is itself."""
    return template.replace("{subject}", subject).replace("{}", subject)


def _nothing(where: str, broken: list[str]) -> str:
    if not broken:
        return f"{where} holds no facts; at least one is needed"
    more = f" (and {len(broken) - 1} more records like it)" if len(broken) > 1 else ""
    return f"{broken[0]}{more}"
