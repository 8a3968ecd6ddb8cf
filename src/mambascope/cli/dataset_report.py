"""What `mambascope dataset` tells of questions: counts by data set and category, lengths, samples, and what was broken."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mambascope.cli.printing import console
from mambascope.data.qa.build import Built
from mambascope.data.qa.counts import LENGTHS, counted, grouped, median_lengths
from mambascope.data.qa.select import ORDER
from mambascope.data.question import Question

NONE = "none"  # how a question without a category is counted
BROKEN = 5  # messages of broken records that are shown; all are counted
LONG = 160  # characters of a text in a sample


def print_broken(messages: Sequence[str]) -> None:
    """How many records could not be read, and the first of them, on stderr."""
    if messages:
        records = "1 record" if len(messages) == 1 else f"{len(messages)} records"
        print(f"mambascope: {records} could not be read:", file=sys.stderr)
        for message in messages[:BROKEN]:
            print(f"  {' '.join(message.split())}", file=sys.stderr)
        if len(messages) > BROKEN:
            print(f"  and {len(messages) - BROKEN} more", file=sys.stderr)


def print_sources(built: Built) -> None:
    """How many questions each source gave."""
    for read in built.sources:
        broken = f", {len(read.broken)} broken" if read.broken else ""
        print(f"read {read.count} questions of {read.source.dataset}{broken}")


def print_counts(questions: Sequence[Question]) -> None:
    """A row for each category that occurs, a column for each data set."""
    counts = counted(questions)
    datasets = list(dict.fromkeys(dataset for dataset, _ in counts))
    table = _table(("category",), (*datasets, "all"))
    for category in ORDER:
        row = [counts.get((dataset, category), 0) for dataset in datasets]
        if any(row):
            table.add_row(category or NONE, *(str(n or "") for n in row), str(sum(row)))
    sums = [sum(n for (of, _), n in counts.items() if of == dataset) for dataset in datasets]
    table.add_row("all", *map(str, sums), str(sum(sums)))
    _print(table)


def print_lengths(questions: Sequence[Question]) -> None:
    """Medians over the questions of each data set and category."""
    table = _table(("data set", "category"), LENGTHS)
    for (dataset, category), found in grouped(questions).items():
        cells = (f"{value:g}" for value in median_lengths(found).values())
        table.add_row(dataset, category or NONE, *cells)
    print("\nmedians of")
    _print(table)


def print_samples(questions: Sequence[Question], count: int) -> None:
    """The first questions of each data set and category, with answers and reason."""
    for (dataset, category), found in grouped(questions).items():
        for question in found[:count]:
            print(f"\n{dataset} {category or NONE}: {question.id}")
            for name, said in _sample(question).items():
                print(f"  {name:<9} {said}")


def built_as_json(built: Built, out: Path) -> str:
    """What was written, as one JSON object."""
    sources = [
        {"dataset": r.source.dataset, "questions": r.count, "broken": len(r.broken)}
        for r in built.sources
    ]
    counted = {"questions": len(built.questions), "counts": _counts(built.questions)}
    return json.dumps({"out": str(out), "sources": sources, **counted}, ensure_ascii=False)


def shown_as_json(questions: Sequence[Question], count: int, broken: int) -> str:
    """What is in a table, as one JSON object."""
    groups = [
        {
            "dataset": dataset,
            "category": category,
            "questions": len(found),
            "medians": median_lengths(found),
            "samples": [{"id": q.id, **_sample(q)} for q in found[:count]],
        }
        for (dataset, category), found in grouped(questions).items()
    ]
    told = {"questions": len(questions), "broken": broken, "counts": _counts(questions)}
    return json.dumps({**told, "groups": groups}, ensure_ascii=False)


def _counts(questions: Sequence[Question]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for (dataset, category), count in counted(questions).items():
        counts.setdefault(dataset, {})[category or NONE] = count
    return counts


def _sample(question: Question) -> dict[str, Any]:
    said = {
        "question": question.question,
        "answers": " | ".join(question.answers),
        "context": question.context,
        "reason": question.reason,
    }
    return {name: _short(" ".join(text.split())) for name, text in said.items() if text}


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."


def _table(labels: Sequence[str], figures: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in labels:
        table.add_column(name, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _print(table: Table) -> None:
    console().print(table)
