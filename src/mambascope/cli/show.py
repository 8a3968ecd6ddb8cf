"""`mambascope show`: what is in a folder of results, as a summary, figures, or a file for other tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from mambascope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Show:
    """Summarise the results in a folder: of a trace, or of a sweep, be it finished or not."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """What `mambascope trace --out` or `mambascope sweep --out` wrote. A sweep's figures go to DIR/figures."""
    export: Literal["csv", "npz"] | None = None
    """Write the results for other tools too: one row per cell, or arrays of numpy."""
    to: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The file that is exported to."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Print the summary, draw the figures, and export."""
        from mambascope.runner.folder import METHOD
        from mambascope.runner.opening import open_results

        if (self.export is None) != (self.to is None):
            raise ConfigError("--export and the file to export to (--to) go together")
        result = open_results(self.folder)
        exported = self._export(result)
        if result.attrs["method"] == METHOD:
            self._show_sweep(result, exported)
        else:
            self._show_trace(result, exported)

    def _show_trace(self, result: "xr.Dataset", files: list[Path]) -> None:
        from mambascope.cli import trace_report

        if self.json:
            print(trace_report.as_json(result, files))
            return
        trace_report.print_summary(result)
        _tell(files)

    def _show_sweep(self, result: "xr.Dataset", files: list[Path]) -> None:
        from mambascope.cli import sweep_report
        from mambascope.methods.tracing.aggregate import mean_effect
        from mambascope.plots.effect_files import effect_files
        from mambascope.results.folder import write_files

        effects = mean_effect(result)
        files = [*write_files(self.folder / "figures", effect_files(effects)), *files]
        if self.json:
            print(sweep_report.as_json(result, effects, files))
            return
        sweep_report.print_summary(result, effects, self.folder)
        _tell(files)

    def _export(self, result: "xr.Dataset") -> list[Path]:
        if self.export is None or self.to is None:
            return []
        from mambascope.results.export import as_csv, as_npz
        from mambascope.results.folder import write_files

        content = {"csv": as_csv, "npz": as_npz}[self.export](result)
        return write_files(self.to.parent, {self.to.name: content})


def _tell(files: list[Path]) -> None:
    for path in files:
        print(f"wrote {path}")
