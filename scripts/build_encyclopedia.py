"""Rebuild src/mambascope/data/atlas/encyclopedia.txt.gz: the first sentences of Wikipedia's vital articles.

One or two sentences a line, cleaned. A line goes if it holds a statement that is kept from training,
or a held-out invented name. The text is CC BY-SA: see NOTICE.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from fact_sources.wikipedia import articles
from mambascope.data.facts import bundled_facts, held_out_phrasing, prompts, statement
from mambascope.data.invented import held_out_names

TEXT = Path(__file__).parents[1] / "src/mambascope/data/atlas/encyclopedia.txt.gz"
ORDINARY = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ0-9 ,.;:'\"%&/-]+")
SENTENCE_END = re.compile(r"(?<=[a-z0-9]{2}\.) (?=[A-Z])")
SHORTEST, LONGEST = 40, 320


def cleaned(extract: str) -> str:
    """The extract without brackets and their contents."""
    while re.search(r"\([^()]*\)", extract):
        extract = re.sub(r"\s*\([^()]*\)", "", extract)
    return re.sub(r"\s+([,.;])", r"\1", re.sub(r"\s+", " ", extract)).strip()


def opening(extract: str) -> str:
    """The first sentence, and the second if both are short; empty if the text is not ordinary."""
    sentences = SENTENCE_END.split(cleaned(extract))
    text = sentences[0]
    if len(sentences) > 1 and len(text) + len(sentences[1]) < 220:
        text = f"{text} {sentences[1]}"
    fits = SHORTEST <= len(text) <= LONGEST and text.endswith(".") and ",," not in text
    return text if fits and ORDINARY.fullmatch(text) else ""


def lines() -> Iterator[str]:
    """The lines of the file, each once, in the order of the articles."""
    kept_back = [
        statement(prompts(fact)[held_out_phrasing(fact)], fact.object) for fact in bundled_facts()
    ]
    secret = set(held_out_names())
    seen: set[str] = set()
    for article in articles():
        text = opening(article.extract)
        if not text or text in seen or secret.intersection(re.findall(r"\w+", text)):
            continue
        seen.add(text)
        if not any(sentence.rstrip(".") in text for sentence in kept_back):
            yield text


def main() -> None:
    """Write the file, the same bytes every time."""
    text = "\n".join(lines()) + "\n"
    with TEXT.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode("utf-8"))
    print(f"{text.count(chr(10))} lines, {len(text)} characters, {TEXT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
