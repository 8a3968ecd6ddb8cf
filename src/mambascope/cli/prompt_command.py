"""What the commands about one prompt and its answer share: their options, and how they ask, print and save."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro
from pydantic import BaseModel

from mambascope.cli.model_command import ModelCommand

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, what it is about, and how it should go on."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """A text that the model should continue, such as "The capital of France is"."""
    subject: str
    """The part of the prompt that it is about."""
    answer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """What the model should say; by default its own top token."""


@dataclass(frozen=True, kw_only=True)
class PromptCommand(ModelCommand, Question, ABC):  # help lists the options of the last base first
    """One method on one prompt.

    A command names its method, what the progress bar says of it, its options, its report (a module with `print_summary`,
    `as_json` and `other_answer`) and its figures; each is imported when it is needed, so that `--help` stays quick.
    """

    method: ClassVar[str]
    doing: ClassVar[str]

    options: BaseModel

    def run(self) -> None:
        """Ask, print what was found, and write the files."""
        from mambascope.results.folder import check_folder

        if self.out is not None:
            check_folder(self.out, self.method)
        result, report = self._ask(), self._report()
        if self.answer is not None and result.attrs["answer"] != result.attrs["top_answer"]:
            print(report.other_answer(result), file=sys.stderr)
        if self.json:
            print(report.as_json(result, self._save(result)))
            return
        report.print_summary(result)
        for path in self._save(result):
            print(f"wrote {path}")

    def _ask(self) -> "xr.Dataset":
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            return self._function()(
                self._load(),
                self.prompt,
                subject=self.subject,
                answer=self.answer,
                progress=bar.follow(self.doing),
                **self.options.model_dump(),
            )

    def _save(self, result: "xr.Dataset") -> list[Path]:
        if self.out is None:
            return []
        from mambascope.results.store import save

        return save(result, self.out, self._figures(result))

    @abstractmethod
    def _function(self) -> "Callable[..., xr.Dataset]":
        """The method as Python calls it."""

    @abstractmethod
    def _report(self) -> ModuleType:
        """What tells the result."""

    @abstractmethod
    def _figures(self, result: "xr.Dataset") -> dict[str, bytes]:
        """The files beside the table, by name."""
