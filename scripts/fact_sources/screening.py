"""What a row must look like to enter the table: clean text, no give-away, one answer per subject."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path

SAFE_TEXT = re.compile(r"[A-Za-z0-9À-ÖØ-öø-ſ .,'&:!-]+")
MAX_WORDS = 5
MAX_LETTERS = 40


@dataclass(frozen=True)
class Candidate:
    """A triple that still has to pass the screen; `rank` orders rows when a relation is capped."""

    relation: str
    subject: str
    object: str
    source: str
    rank: float = 0.0


def data_file(package: str, relative: str) -> Path:
    """The path of a data file inside an installed package, without importing the package."""
    return Path(str(distribution(package).locate_file(relative)))


def plain(text: str) -> str:
    """`text` without markup, entities, curly quotes and doubled spaces."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    text = text.replace("’", "'").replace("‘", "'").replace("–", "-").replace("ʻ", "'")
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def folded(text: str) -> str:
    """`text` in lower case without accents, for comparing names."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def is_clean(text: str) -> bool:
    """Whether `text` is short, printable and free of odd characters."""
    return (
        bool(SAFE_TEXT.fullmatch(text))
        and len(text.split()) <= MAX_WORDS
        and len(text) <= MAX_LETTERS
    )


def gives_away(subject: str, answer: str) -> bool:
    """Whether the one name can be read off the other."""
    left, right = folded(subject), folded(answer)
    return left in right or right in left


def screened(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """The candidates that are clean, whose subject has one answer, and whose answer is not given away."""
    answers: dict[tuple[str, str], set[str]] = {}
    tidy = (replace(c, subject=plain(c.subject), object=plain(c.object)) for c in candidates)
    rows = [c for c in tidy if is_clean(c.subject) and is_clean(c.object)]
    for row in rows:
        answers.setdefault((row.relation, folded(row.subject)), set()).add(row.object)
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = (row.relation, folded(row.subject))
        if key in seen or len(answers[key]) > 1 or gives_away(row.subject, row.object):
            continue
        seen.add(key)
        yield row
