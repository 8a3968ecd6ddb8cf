"""Questions of many data sets: read, classified, chosen. The same inputs give the same questions in the same order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from mambascope.data.qa.catalogue import QUESTION_SETS
from mambascope.data.qa.config import BuildConfig
from mambascope.data.qa.reading import questions_of
from mambascope.data.qa.select import Pool
from mambascope.data.question import Question
from mambascope.errors import ConfigError, DataError

EVERY = 500  # questions between two reports of progress


@dataclass(frozen=True)
class Source:
    """Where the questions of a data set are read from: what `records` of source.py takes."""

    dataset: str
    where: str


@dataclass(frozen=True)
class Read:
    """What a source gave.

    count:  questions that could be read
    broken: one message per record that could not, naming file, record and field
    """

    source: Source
    count: int
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """The questions that were kept, and what each source gave."""

    questions: tuple[Question, ...]
    sources: tuple[Read, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """What could not be read, of all sources."""
        return tuple(message for read in self.sources for message in read.broken)


def parse_source(given: str) -> Source:
    """`squad=PATH` as a source; ConfigError if it is none."""
    dataset, equals, where = given.partition("=")
    names = ", ".join(QUESTION_SETS)
    if not equals or not where:
        raise ConfigError(f"{given!r} is no source; write NAME=PATH or NAME=hub, of: {names}")
    if dataset not in QUESTION_SETS:
        raise ConfigError(f"unknown data set {dataset!r} in {given!r}; it is one of: {names}")
    return Source(dataset, where)


def build(
    sources: Sequence[Source],
    config: BuildConfig,
    progress: Callable[[int, str], None] = lambda done, told: None,
) -> Built:
    """Read all sources and keep what the configuration says. The order of the sources changes nothing.

    progress: told (sources done, how many questions of which data set have been read)
    Raises DataError for a source that cannot be read or that gives no question; ConfigError without sources.
    """
    if not sources:
        raise ConfigError("there are no sources; give at least one, such as squad=PATH")
    pool = Pool(config.seed, config.per_dataset, config.per_category)
    seen: set[str] = set()
    order = sorted(set(sources), key=lambda s: (s.dataset, PurePath(s.where).name, s.where))
    read = []
    for done, source in enumerate(order):
        read.append(_read(source, pool, seen, lambda told, done=done: progress(done, told)))
    return Built(tuple(pool.chosen()), tuple(read))


def _read(source: Source, pool: Pool, seen: set[str], told: Callable[[str], None]) -> Read:
    count, broken = 0, []
    for found in questions_of(QUESTION_SETS[source.dataset], source.where):
        if isinstance(found, str):
            broken.append(found)
        elif found.id in seen:
            broken.append(f"{found.origin}: id {found.id!r} was there before")
        else:
            seen.add(found.id)
            pool.add(found)
            count += 1
            if count % EVERY == 1:
                told(f"{count} of {source.dataset}")
    if not count:
        raise DataError(_nothing(source, broken))
    return Read(source, count, tuple(broken))


def _nothing(source: Source, broken: list[str]) -> str:
    if not broken:
        return f"{source.where} holds no questions of {source.dataset}; at least one is needed"
    more = f" (and {len(broken) - 1} more records like it)" if len(broken) > 1 else ""
    return f"{broken[0]}{more}"
