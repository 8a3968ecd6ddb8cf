"""Rebuild src/mambascope/data/atlas/facts.csv from the packages of the extra `facts`.

1. every source yields candidates  2. the screen drops what is unclean, ambiguous or given away
3. large relations are cut to their best-known rows  4. the table is written in a fixed order.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fact_sources.cities import city_country_facts, city_state_facts
from fact_sources.countries import factbook_facts, geonames_facts
from fact_sources.elements import element_facts
from fact_sources.people import people_facts
from fact_sources.screening import Candidate, folded, screened
from fact_sources.things import thing_facts

TABLE = Path(__file__).parents[1] / "src/mambascope/data/atlas/facts.csv"
COLUMNS = ["fact_id", "relation", "subject", "object", "source"]
LARGEST = {
    "city_country": 720, "nationality": 450, "profession": 450, "us_state": 180,
    "birth_year": 200, "death_year": 150, "living_kind": 190, "currency_code": 170,
    "calling_code": 150, "capital_of": 180,
}  # fmt: skip
SMALLEST = 15


def stable_order(candidate: Candidate) -> tuple[float, str]:
    """Best-known first; among equals an arbitrary but fixed order."""
    key = f"{candidate.relation}/{candidate.subject}"
    return -candidate.rank, hashlib.sha256(key.encode()).hexdigest()


def candidates() -> Iterator[Candidate]:
    """All rows that the sources offer."""
    yield from geonames_facts()
    yield from factbook_facts()
    yield from city_country_facts()
    yield from city_state_facts()
    yield from element_facts()
    yield from people_facts()
    yield from thing_facts()


def selected(rows: list[Candidate]) -> list[Candidate]:
    """At most the allowed number of rows of each relation; tiny relations go."""
    sizes = Counter(row.relation for row in rows)
    taken: Counter[str] = Counter()
    kept = []
    for row in sorted(rows, key=stable_order):
        limit = LARGEST.get(row.relation, len(rows))
        if sizes[row.relation] >= SMALLEST and taken[row.relation] < limit:
            taken[row.relation] += 1
            kept.append(row)
    return sorted(kept, key=lambda row: (row.relation, folded(row.subject)))


def fact_id(row: Candidate) -> str:
    """`relation/subject` in lower-case ASCII letters, digits and hyphens."""
    return f"{row.relation}/{re.sub(r'[^a-z0-9]+', '-', folded(row.subject)).strip('-')}"


def write_table(rows: list[Candidate], path: Path = TABLE) -> None:
    """Write the rows as CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([fact_id(r), r.relation, r.subject, r.object, r.source] for r in rows)


def main() -> None:
    """Rebuild the table and print its make-up."""
    rows = selected(list(screened(candidates())))
    write_table(rows)
    for relation, count in Counter(row.relation for row in rows).most_common():
        answer, times = Counter(r.object for r in rows if r.relation == relation).most_common(1)[0]
        print(f"{relation:20} {count:5}   commonest: {answer} ({times / count:.0%})")
    print(f"{len(rows)} facts")


if __name__ == "__main__":
    main()
