"""`mambascope dataset`: published question sets as one table of classified questions, and what is in such a table."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mambascope.data.qa.config import BuildConfig
from mambascope.errors import ConfigError

if TYPE_CHECKING:
    from mambascope.data.qa.build import Built


@dataclass(frozen=True, kw_only=True)
class DatasetBuild:
    """Read question sets, give each question the category of what it demands, and write a choice of them as one table."""

    source: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=PATH")
    ] = ()
    """A data set (squad, nq, hotpotqa, triviaqa, musique, drop) and where it is: a file or a folder as its authors publish it,
    or hub, or hub:REPOSITORY[:CONFIG[:SPLIT]]. Once for each source."""
    options: Annotated[BuildConfig, tyro.conf.arg(name="")] = field(default_factory=BuildConfig)
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The Parquet file to write; the same sources and options give the same bytes."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Read, classify, choose, write, and say what came of it."""
        from mambascope.cli import dataset_report
        from mambascope.results.folder import check_file, write_files

        check_file(self.out)
        built = self._build()
        from mambascope.data.qa.table import as_table

        write_files(self.out.parent, {self.out.name: as_table(built, self.options)})
        dataset_report.print_broken(built.broken)
        if self.json:
            print(dataset_report.built_as_json(built, self.out))
            return
        dataset_report.print_sources(built)
        dataset_report.print_counts(built.questions)
        print(f"wrote {self.out}")

    def _build(self) -> "Built":
        from mambascope.progress import ProgressBar

        with ProgressBar("reading questions") as bar:
            from mambascope.data.qa.build import build, parse_source

            sources = [parse_source(given) for given in self.source]
            bar.begin("reading questions", 0, len(sources))
            return build(sources, self.options, bar.move)


@dataclass(frozen=True, kw_only=True)
class DatasetShow:
    """Show a table of questions: how many of each data set and category, how long they are, and samples."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """What `mambascope dataset build` or `mambascope prompts` wrote."""
    samples: int = 1
    """How many questions of each data set and category are shown."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Print counts, lengths and samples."""
        from mambascope.cli import dataset_report
        from mambascope.data.question_files import read_questions
        from mambascope.progress import ProgressBar

        if self.samples < 0:
            raise ConfigError(f"--samples is {self.samples}; give 0 for none, or how many")
        with ProgressBar("reading questions"):
            questions, broken = read_questions(self.file.expanduser())
        dataset_report.print_broken(broken)
        if self.json:
            print(dataset_report.shown_as_json(questions, self.samples, len(broken)))
            return
        dataset_report.print_counts(questions)
        dataset_report.print_lengths(questions)
        dataset_report.print_samples(questions, self.samples)


@dataclass(frozen=True)
class Dataset:
    """Published question sets as one table of classified questions, for `mambascope evaluate` and every later study."""

    what: Annotated[
        Annotated[DatasetBuild, tyro.conf.subcommand("build")]
        | Annotated[DatasetShow, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ]
    """Build a table, or show one."""

    def run(self) -> None:
        """Build a table, or show one."""
        self.what.run()
