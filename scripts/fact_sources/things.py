"""Facts about works, living things, places, stars, units and gods, read from short descriptions."""

import re
from collections.abc import Iterator
from functools import cache

from fact_sources.countries import WITH_ARTICLE, country_table
from fact_sources.screening import Candidate
from fact_sources.wikipedia import WIKIPEDIA, Article, articles


def any_of(words: str) -> str:
    """A pattern for one of the words, with a small or a capital first letter."""
    return "(?:" + "|".join(f"[{w[0].upper()}{w[0]}]{w[1:]}" for w in words.split()) + ")"


NAME_WORD = r"(?:[A-ZÀ-Ö][\w.'-]+|de|da|van|von|der|di)"
NAME_PART = r"(?:[A-ZÀ-Ö][\w.'-]+|de|da|van|von|der|di|del|la|le|I|II)"
PERSON = rf"({NAME_WORD}(?: {NAME_PART})*)"
WORKS = {
    "author": "novel novella play poem book tragedy comedy stories essay treatise epic work novels "
    "collection tale memoir",
    "film": "film",
    "music": "opera symphony ballet concerto suite oratorio mass requiem sonata concertos cycle",
    "picture": "painting sculpture mural fresco triptych statue paintings",
}
MADE_BY = {
    role: re.compile(rf"(?:(?P<year>\d{{4}}) )?.*\b(?:{'|'.join(words.split())})\b.* by {PERSON}")
    for role, words in WORKS.items()
}
RANK = (
    "(?:Species|Genus|Family|Order|Suborder|Subfamily|Clade|Class|Infraorder|Superfamily|Group|"
    "Tribe|Breed)"
)
KINDS = {
    "mammal": "mammals", "bird": "birds", "fish": "fish", "fishes": "fish", "reptile": "reptiles",
    "insect": "insects", "amphibian": "amphibians", "flowering plant": "flowering plants",
    "plant": "plants", "crustacean": "crustaceans", "spider": "arachnids", "arachnid": "arachnids",
    "mollusc": "molluscs", "mollusk": "molluscs", "rodent": "rodents", "shark": "sharks",
    "dinosaur": "dinosaurs", "fungus": "fungi", "fungi": "fungi", "bacteria": "bacteria",
    "bacterium": "bacteria", "tree": "trees", "conifer": "conifers", "fern": "ferns", "marsupial": "marsupials",
    "snake": "snakes", "lizard": "lizards", "primate": "primates", "butterfly": "butterflies",
    "beetle": "beetles", "cnidarian": "cnidarians", "echinoderm": "echinoderms", "grass": "grasses",
    "legume": "legumes", "seabird": "birds", "songbird": "birds", "passerine bird": "birds",
    "bovid mammal": "mammals", "bat": "bats", "frog": "frogs", "turtle": "turtles", "worm": "worms",
    "ray-finned fish": "fish", "bony fish": "fish", "carnivoran": "mammals", "cetacean": "mammals",
}  # fmt: skip
PLACES = any_of(
    "river lake mountain volcano island ruin temple cathedral museum castle palace site monument "
    "mausoleum waterfall desert peninsula plateau bridge tower park church mosque fort region "
    "canyon monastery building garden"
)
IN_COUNTRY = re.compile(r"\b(?:in|of) (?:\w+ )??(?:[A-Z][\w ]+, )?([A-Z]\w+(?: [A-Z]\w+)?)$")
CAPITAL_OF_REGION = re.compile(
    r"(?:(?:State|Provincial|Regional) c|C)apital(?: city)?"
    r"(?: and (?:largest|most populous) city)? of ([A-Z][\w ]+?), ([A-Z][\w ]+)"
)
LANGUAGE = re.compile(
    r"(?:(?:Ancient|Extinct|Northwest|Central|Eastern|Western|Southern|North|East|South|West) )*"
    r"([A-Z][\w-]+(?: [A-Z][\w-]+)?) language\b(?! famil)"
)
NO_FAMILIES = {"Markup", "Extinct"}
FINER_THAN_FAMILY = re.compile(r"^(?:Indigenous|Karluk|Kipchak) ")
CONSTELLATION = re.compile(r"\bconstellation (?:of )?([A-Z]\w+(?: [A-Z]\w+)?)$")
UNIT = re.compile(r"(?:(?:SI|SI base|SI derived|Base|Ancient) )*[Uu]nit of ([a-z]+(?: [a-z]+)?)")
NO_UNITS = {"Syllable", "Data"}
PANTHEONS = (
    "Greek|Roman|Egyptian|Hindu|Norse|Mesopotamian|Aztec|Maya|Celtic|Sumerian|Canaanite|Chinese|"
    "Japanese|Irish|Slavic|Inca|Yoruba"
)
DIVINE = re.compile(
    rf"(?:(?:[Mm]ajor|[Aa]ncient|[Pp]rincipal|King of the) )*({PANTHEONS})\b"
    r".*\b(?:god|goddess|gods|deity|mythology|hero|titan)"
)


def thing_facts() -> Iterator[Candidate]:
    """Every relation of this module over every article that is no biography."""
    readers = (works, living_things, region_capitals, landmarks, languages, sky, units, gods)
    for article in articles():
        if article.topic != "People":
            for read in readers:
                yield from read(article)


def works(article: Article) -> Iterator[Candidate]:
    """Who wrote, directed, composed or made a work, and in which year."""
    for role, pattern in MADE_BY.items():
        if match := pattern.fullmatch(article.description):
            relation = "author" if role == "author" else "creator"
            yield Candidate(relation, article.title, match[2], WIKIPEDIA)
            if match["year"]:
                yield Candidate("work_year", article.title, match["year"], WIKIPEDIA)
            return


def living_things(article: Article) -> Iterator[Candidate]:
    """The large group that a species, genus, family or order belongs to."""
    match = re.match(rf"{RANK} of ([a-z -]+)", article.description)
    if article.topic != "Biology and health sciences" or not match:
        return
    words = re.split(r" (?:in|of|with|native)\b", match[1], maxsplit=1)[0].split()
    for end in (" ".join(words), " ".join(words[-2:]), words[-1]):
        if kind := KINDS.get(end) or KINDS.get(end.removesuffix("s")):
            yield Candidate("living_kind", article.title, kind, WIKIPEDIA)
            return


def region_capitals(article: Article) -> Iterator[Candidate]:
    """The capital of a region: "Capital city of Bavaria, Germany"."""
    if match := CAPITAL_OF_REGION.fullmatch(article.description):
        yield Candidate("region_capital", match[1], article.title.split(",")[0], WIKIPEDIA)


@cache
def plain_countries() -> frozenset[str]:
    """The countries whose names take no article."""
    return frozenset(row["english"] for row in country_table()) - WITH_ARTICLE


def landmarks(article: Article) -> Iterator[Candidate]:
    """The one country of a river, lake, mountain, island or building."""
    known_topic = article.topic in {"Geography", "Arts", "History", "Uncategorized"}
    match = IN_COUNTRY.search(article.description)
    is_place = known_topic and re.search(rf"\b{PLACES}", article.description)
    if is_place and match and match[1] in plain_countries():
        yield Candidate("landmark_country", article.title, match[1], WIKIPEDIA)


def languages(article: Article) -> Iterator[Candidate]:
    """The family of a language."""
    match = LANGUAGE.match(article.description)
    name = article.title.removesuffix(" language")
    if match and "language" not in name and match[1] not in NO_FAMILIES:
        family = FINER_THAN_FAMILY.sub("", match[1])
        yield Candidate("language_family", name, family, WIKIPEDIA)


def sky(article: Article) -> Iterator[Candidate]:
    """The constellation of a star, galaxy or cluster."""
    if match := CONSTELLATION.search(article.description):
        yield Candidate("constellation", article.title, match[1], WIKIPEDIA)


def units(article: Article) -> Iterator[Candidate]:
    """The quantity that a unit measures."""
    match = UNIT.fullmatch(article.description)
    if match and article.title not in NO_UNITS:
        yield Candidate("unit_of", article.title.lower(), match[1], WIKIPEDIA)


def gods(article: Article) -> Iterator[Candidate]:
    """The people who worshipped a god or told of a hero."""
    if match := DIVINE.match(article.description):
        yield Candidate("mythology", article.title, match[1], WIKIPEDIA)
