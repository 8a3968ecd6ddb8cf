"""What `mambascope show` can show: for the results of each method its summary, its JSON and its figures."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from mambascope.cli.shown_base import Shown, ShownPrompt, ShownSweep
from mambascope.errors import OutputError

if TYPE_CHECKING:
    from mambascope.cli.evaluation_report import Report


class ShownTrace(ShownPrompt):
    """One trace."""

    report = "mambascope.cli.trace_report"


class ShownTraceSweep(ShownSweep):
    """A sweep of traces: the mean effect by role."""

    report = "mambascope.cli.sweep_report"

    def _mean(self) -> xr.Dataset:
        from mambascope.methods.tracing.aggregate import mean_effect

        return mean_effect(self.result)

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.effect_files import effect_files

        return effect_files(self.mean)


class ShownKnockout(ShownPrompt):
    """One knockout."""

    report = "mambascope.cli.knockout_report"


class ShownKnockoutSweep(ShownSweep):
    """A sweep of knockouts: curves of the answer's probability and of its change."""

    ranked = True
    report = "mambascope.cli.flow_report"

    @cached_property
    def flows(self) -> dict[str, xr.Dataset]:
        """The means over facts, by quantity."""
        from mambascope.methods.knockout.aggregate import mean_flow

        quantities = ("score", "change", "hit")
        return {name: mean_flow(self.result, quantity=name, rank=self.rank) for name in quantities}

    def _mean(self) -> xr.Dataset:
        return self.flows["change"]

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.knockout import knockout_png
        from mambascope.plots.knockout_page import knockout_html

        files: dict[str, bytes] = {}
        for name, flow in self.flows.items():
            files[f"flow-{name}.png"] = knockout_png(flow)
            files[f"flow-{name}.html"] = knockout_html(flow).encode()
        return files


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


class ShownLedger(ShownPrompt):
    """One route ledger."""

    report = "mambascope.cli.ledger_report"


class ShownLedgerSweep(ShownSweep):
    """A sweep of ledgers: their mean, in both forms."""

    report = "mambascope.cli.ledger_sweep_report"

    @cached_property
    def means(self) -> dict[str, xr.Dataset]:
        """The mean over facts, by form."""
        from mambascope.methods.ledger.mean import mean_ledger
        from mambascope.results.ledger import FORMS

        return {form: mean_ledger(self.result, form=form) for form in FORMS}

    def _mean(self) -> xr.Dataset:
        return self.means["single"]

    def figures(self) -> dict[str, bytes]:
        """See Shown."""
        from mambascope.plots.ledger_mean import mean_ledger_png

        return {f"ledger-{form}.png": mean_ledger_png(mean) for form, mean in self.means.items()}


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
