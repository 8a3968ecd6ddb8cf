"""Facts about the chemical elements, from mendeleev's table."""

import re
import sqlite3
from collections.abc import Iterator

from fact_sources.screening import Candidate, data_file

MENDELEEV = "mendeleev"
SERIES = {
    "Nonmetals": "nonmetals", "Noble gases": "noble gases", "Alkali metals": "alkali metals",
    "Alkaline earth metals": "alkaline earth metals", "Metalloids": "metalloids",
    "Halogens": "halogens", "Poor metals": "poor metals", "Transition metals": "transition metals",
    "Lanthanides": "lanthanides", "Actinides": "actinides",
}  # fmt: skip
# Names that the table misspells or abbreviates.
CORRECTED = {
    "C.F. Aver von Welsbach": "Carl Auer von Welsbach", "Smithson Tenant": "Smithson Tennant",
    "Charles Hatchet": "Charles Hatchett", "Fredrich Stromeyer": "Friedrich Stromeyer",
    "Marguerite Derey": "Marguerite Perey", "Fredrich Ernst Dorn": "Friedrich Ernst Dorn",
    "Humphrey Davy": "Humphry Davy", "A. Crawford": "Adair Crawford",
    "J.L. Soret": "Jacques-Louis Soret", "Antoine J. Balard": "Antoine Balard",
    "William Wollaston": "William Hyde Wollaston", "United States": "the United States",
}  # fmt: skip
QUERY = """SELECT e.name, e.symbol, e.atomic_number, s.name, e.discoverers, e.discovery_year,
                  e.discovery_location, e.period
           FROM elements e LEFT JOIN series s ON s.id = e.series_id ORDER BY e.atomic_number"""


def element_facts() -> Iterator[Candidate]:
    """Symbol, number, family, discoverer, year and place of discovery of each element."""
    database = data_file("mendeleev", "mendeleev/elements.db")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        for row in connection.execute(QUERY):
            yield from facts_of_element(*row)


def facts_of_element(
    name: str,
    symbol: str,
    number: int,
    series: str | None,
    discoverers: str | None,
    year: int | None,
    place: str | None,
    period: int,
) -> Iterator[Candidate]:
    """The facts of one row of the element table."""
    subject = name.lower()
    answers = {
        "element_symbol": symbol,
        "element_number": str(number),
        "element_family": SERIES.get(series or "", ""),
        "element_discoverer": lone_discoverer(discoverers or ""),
        "element_year": str(year) if year and year > 1600 else "",
        "element_country": lone_country(place or ""),
    }
    for relation, answer in answers.items():
        if answer:
            yield Candidate(relation, subject, answer, MENDELEEV, -number)


def lone_discoverer(text: str) -> str:
    """The discoverer, where the table names one person and nobody else."""
    text = re.sub(r"\b(?:Sir|Dr|Lord|Baron|Count) ", "", text.strip(" ."))
    word = r"(?:[A-ZÀ-Ö][\w'-]+|[A-Z]\.|de|von|del|y)"
    if "Laboratory" in text or "Institute" in text:
        return ""
    text = CORRECTED.get(text, text)
    return text if re.fullmatch(rf"[A-ZÀ-Ö][\w.-]+(?: {word}){{1,4}}", text) else ""


def lone_country(text: str) -> str:
    """The country of discovery, where the table names exactly one."""
    text = text.strip()
    name = CORRECTED.get(text, text)
    return name if re.fullmatch(r"[A-Z][a-z]+(?: [A-Z][a-z]+)?", text) else ""
