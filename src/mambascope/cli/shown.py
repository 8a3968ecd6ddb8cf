"""What `mambascope show` can show: for the results of each method its summary, its JSON and its figures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from mambascope.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from mambascope.cli.evaluation_report import Report


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


class ShownTrace(Shown):
    """One trace."""

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import trace_report

        return trace_report.as_json(self.result, files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import trace_report

        trace_report.print_summary(self.result)


class ShownTraceSweep(Shown):
    """A sweep of traces: the mean effect by role."""

    @cached_property
    def effects(self) -> xr.Dataset:
        """The mean over facts."""
        from mambascope.methods.tracing.aggregate import mean_effect

        return mean_effect(self.result)

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.effect_files import effect_files

        return effect_files(self.effects)

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import sweep_report

        return sweep_report.as_json(self.result, self.effects, files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import sweep_report

        sweep_report.print_summary(self.result, self.effects, self.folder)


class ShownKnockout(Shown):
    """One knockout."""

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import knockout_report

        return knockout_report.as_json(self.result, files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import knockout_report

        knockout_report.print_summary(self.result)


class ShownKnockoutSweep(Shown):
    """A sweep of knockouts: curves of the answer's probability and of its change."""

    ranked = True

    @cached_property
    def flows(self) -> dict[str, xr.Dataset]:
        """The means over facts, by quantity."""
        from mambascope.methods.knockout.aggregate import mean_flow

        quantities = ("score", "change", "hit")
        return {name: mean_flow(self.result, quantity=name, rank=self.rank) for name in quantities}

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.knockout import knockout_png
        from mambascope.plots.knockout_page import knockout_html

        files: dict[str, bytes] = {}
        for name, flow in self.flows.items():
            files[f"flow-{name}.png"] = knockout_png(flow)
            files[f"flow-{name}.html"] = knockout_html(flow).encode()
        return files

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import flow_report

        return flow_report.as_json(self.result, self.flows["change"], files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import flow_report

        flow_report.print_summary(self.result, self.flows["change"], self.folder)


class ShownAttention(Shown):
    """Effective attention of one prompt, and beside it what a Mamba's state holds."""

    @cached_property
    def memory(self) -> dict[str, xr.Dataset]:
        """The results in the folders beside it, if they are of the same prompt and weights: a transformer has none."""
        from mambascope.cli.attention import MEMORY
        from mambascope.results.store import load

        found = {name: load(self.folder / name) for name in MEMORY if (self.folder / name).is_dir()}
        same = [
            part.attrs[name] == self.result.attrs[name]
            for part in found.values()
            for name in ("prompt", "weights")
        ]
        return found if all(same) else {}

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import attention_report

        return attention_report.as_json(self.result, self.memory, files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import attention_report

        attention_report.print_summary(self.result, self.memory)


class ShownLedger(Shown):
    """One route ledger."""

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import ledger_report

        return ledger_report.as_json(self.result, files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import ledger_report

        ledger_report.print_summary(self.result)


class ShownLedgerSweep(Shown):
    """A sweep of ledgers: their mean, in both forms."""

    @cached_property
    def means(self) -> dict[str, xr.Dataset]:
        """The mean over facts, by form."""
        from mambascope.methods.ledger.mean import mean_ledger
        from mambascope.results.ledger import FORMS

        return {form: mean_ledger(self.result, form=form) for form in FORMS}

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.ledger_mean import mean_ledger_png

        return {f"ledger-{form}.png": mean_ledger_png(mean) for form, mean in self.means.items()}

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        from mambascope.cli import ledger_sweep_report

        return ledger_sweep_report.as_json(self.result, self.means["single"], files)

    def print(self) -> None:
        """See Shown."""
        from mambascope.cli import ledger_sweep_report

        ledger_sweep_report.print_summary(self.result, self.means["single"], self.folder)


class ShownEvaluation(Shown):
    """An evaluation: means by category."""

    @cached_property
    def report(self) -> "Report":
        """What is told of it."""
        from mambascope.cli.evaluation_report import Report

        return Report([self.result])

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        return self.report.figures()

    def json(self, files: Sequence[Path]) -> str:
        """See Shown."""
        return self.report.json(files)

    def print(self) -> None:
        """See Shown."""
        self.report.print()


SHOWN: dict[str, type[Shown]] = {
    "attention": ShownAttention,
    "ledger": ShownLedger,
    "trace": ShownTrace,
    "sweep.trace": ShownTraceSweep,
    "knockout": ShownKnockout,
    "sweep.knockout": ShownKnockoutSweep,
    "sweep.ledger": ShownLedgerSweep,
    "sweep.evaluate": ShownEvaluation,
}


def shown(result: xr.Dataset, folder: Path, rank: str | None) -> Shown:
    """How results are shown; OutputError for a method that has no summary."""
    method = result.attrs["method"]
    if method not in SHOWN:
        raise OutputError(
            f"results of {method!r} have no summary to show; these have: {', '.join(SHOWN)}"
        )
    return SHOWN[method](result, folder, rank)
