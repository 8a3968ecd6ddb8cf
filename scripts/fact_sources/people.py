"""Facts about people, from the short descriptions: "Italian chemist and physicist (1745-1827)"."""

import re
from collections.abc import Iterator

from fact_sources.screening import Candidate
from fact_sources.wikipedia import WIKIPEDIA, Article, articles

LIFE = re.compile(r"\((\d{4})-(\d{4})\)$|\(born (\d{4})\)$")
# Adjectives that may open a description and say where somebody is from.
NATIONALITIES = (
    "American|English|British|French|German|Italian|Spanish|Russian|Scottish|Irish|Greek|Roman|"
    "Chinese|Japanese|Indian|Dutch|Austrian|Swiss|Polish|Hungarian|Swedish|Norwegian|Danish|"
    "Canadian|Australian|Brazilian|Mexican|Argentine|Persian|Iranian|Portuguese|Czech|Belgian|"
    "Flemish|Finnish|Turkish|Egyptian|Israeli|Cuban|Chilean|Colombian|Jamaican|Nigerian|Ukrainian|"
    "Venetian|Romanian|Croatian|Serbian|South African|New Zealand|Pakistani|Vietnamese|"
    "South Korean|Korean|Soviet|Welsh|Arab|Florentine|Venezuelan|Peruvian|Kenyan|Bohemian|Ottoman|"
    "Tunisian|Algerian|Moroccan|Ghanaian|Indonesian|Burmese|Lebanese|Senegalese|Uruguayan|Genoese"
)
PEOPLE = re.compile(rf"(?:(?:[Aa]ncient|[Mm]edieval) )?({NATIONALITIES}) (?!Empire|Emperor)(.+)")
# The trade is the last word of the first item of the list that follows the nationality.
TRADES = set(
    "singer songwriter musician rapper sociologist philosopher jurist novelist writer poet author "
    "playwright composer pianist violinist conductor botanist biologist zoologist chemist physicist "
    "astronomer mathematician statistician physician surgeon psychiatrist psychologist economist "
    "historian geographer explorer navigator painter sculptor architect photographer printmaker "
    "actor actress comedian filmmaker dancer choreographer inventor engineer industrialist "
    "businessman entrepreneur businesswoman politician statesman revolutionary diplomat lawyer "
    "general admiral soldier theologian mystic preacher rabbi linguist logician anthropologist "
    "archaeologist geologist naturalist entomologist paleontologist polymath scholar activist "
    "journalist essayist dramatist footballer cricketer boxer swimmer sprinter gymnast cyclist "
    "golfer astronaut cosmonaut aviator trumpeter saxophonist guitarist drummer bandleader soprano "
    "tenor critic translator educator nurse chef programmer neurologist microbiologist biochemist "
    "geneticist virologist immunologist meteorologist cartographer orator monk missionary "
    "clergyman priest philanthropist banker publisher printer pirate outlaw gangster sailor "
    "sportsman screenwriter animator cartoonist magician jockey anatomist physiologist pharmacologist".split()
)
PHRASES = {
    "basketball player": "basketball player", "baseball player": "baseball player",
    "tennis player": "tennis player", "chess player": "chess player", "chess grandmaster": "chess player",
    "ice hockey player": "ice hockey player", "film director": "film director",
    "racing driver": "racing driver", "computer scientist": "computer scientist",
    "fashion designer": "fashion designer", "figure skater": "figure skater",
    "military officer": "military officer", "association footballer": "footballer",
}  # fmt: skip
BIRTHS_FROM = 1700


def people_facts() -> Iterator[Candidate]:
    """Nationality, profession, year of birth and of death of the people described."""
    for article in articles():
        if article.topic in {"People", "Uncategorized"} and LIFE.search(article.description):
            yield from facts_of_person(article)


def facts_of_person(article: Article) -> Iterator[Candidate]:
    """The facts of one biography. Short names first: they are the best known by that name."""
    life = LIFE.search(article.description)
    assert life is not None
    words = article.title.split()
    if not 2 <= len(words) <= 3 or re.search(r"\d|,| of | the ", article.title):
        return
    # The thousand most vital articles carry no topic in the package; they come first.
    rank = 1.0 if article.topic == "Uncategorized" else 0.0
    lead = LIFE.sub("", article.description).strip()
    if match := PEOPLE.fullmatch(lead):
        yield Candidate("nationality", article.title, match[1], WIKIPEDIA, rank)
        lead = match[2]
    if trade := first_trade(lead):
        yield Candidate("profession", article.title, trade, WIKIPEDIA, rank)
    born, died = life[1] or life[3], life[2]
    if int(born) >= BIRTHS_FROM:
        yield Candidate("birth_year", article.title, born, WIKIPEDIA, rank)
        if died:
            yield Candidate("death_year", article.title, died, WIKIPEDIA, rank)


def first_trade(text: str) -> str:
    """The first trade of "chemist and physicist", "theoretical physicist, author"; or nothing."""
    item = re.split(r",| and | who | & |;", text, maxsplit=1)[0].strip()
    for phrase, trade in PHRASES.items():
        if item.endswith(phrase):
            return trade
    last = item.split()[-1].lower() if item else ""
    return last if last in TRADES else ""
