"""What showing results takes, whatever the method: of one prompt, of a sweep, or of neither kind."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import xarray as xr

from mambascope.errors import ConfigError


class Shown(ABC):
    """Results that can be shown. `rank` chooses facts, where the results are of a method that knows ranks."""

    ranked = False

    def __init__(self, result: xr.Dataset, folder: Path, rank: str | None) -> None:
        if rank is not None and not self.ranked:
            raise ConfigError(
                f"--rank is for sweeps of knockouts, not for results of {result.attrs['method']!r}"
            )
        self.result, self.folder, self.rank = result, folder, rank

    def figures(self) -> dict[str, bytes]:
        """Figures that are drawn when the results are shown, by file name."""
        return {}

    @abstractmethod
    def json(self, files: Sequence[Path]) -> str:
        """Everything as one JSON object, with the files that were written."""

    @abstractmethod
    def print(self) -> None:
        """The summary on stdout."""


class ShownPrompt(Shown):
    """What was found out about one prompt, as its command tells it."""

    report: ClassVar[str]  # its module, imported when it is needed

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        return import_module(self.report).as_json(self.result, files)

    def print(self) -> None:
        """See Shown."""
        import_module(self.report).print_summary(self.result)


class ShownSweep(Shown):
    """What a sweep found out, told by a mean over its facts."""

    report: ClassVar[str]  # its module, imported when it is needed

    @cached_property
    def mean(self) -> xr.Dataset:
        """The mean over facts that is told."""
        return self._mean()

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        return import_module(self.report).as_json(self.result, self.mean, files)

    def print(self) -> None:
        """See Shown."""
        import_module(self.report).print_summary(self.result, self.mean, self.folder)

    @abstractmethod
    def _mean(self) -> xr.Dataset:
        """Compute it."""
