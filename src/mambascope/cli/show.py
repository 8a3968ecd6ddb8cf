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
    """Summarise the results in a folder: of a trace, a knockout, a ledger, or a sweep, be it finished or not."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """What `mambascope trace`, `knockout`, `ledger` or `sweep` wrote with --out. A sweep's figures go to DIR/figures."""
    export: Literal["csv", "npz"] | None = None
    """Write the results for other tools too: one row per cell, or arrays of numpy, to DIR/cells.csv or DIR/cells.npz."""
    to: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Another file to export to."""
    rank: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """Of a sweep of knockouts only the facts whose answer has such a rank for the model: 1, <=3, <=5 or 2-5."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Print the summary, draw the figures, and export."""
        from mambascope.cli.shown import shown
        from mambascope.results.folder import write_files
        from mambascope.runner.opening import open_results

        if self.to is not None and self.export is None:
            raise ConfigError(
                f"--to {self.to} is for --export csv or --export npz; add one of them"
            )
        result = open_results(self.folder)
        found = shown(result, self.folder, self.rank)
        figures = found.figures()
        drawn = write_files(self.folder / "figures", figures) if figures else []
        files = [*drawn, *self._export(result)]
        if self.json:
            print(found.json(files))
            return
        found.print()
        for path in files:
            print(f"wrote {path}")

    def _export(self, result: "xr.Dataset") -> list[Path]:
        if self.export is None:
            return []
        from mambascope.results.export import as_csv, as_npz
        from mambascope.results.folder import write_files

        content = {"csv": as_csv, "npz": as_npz}[self.export](result)
        target = self.to or self.folder / f"cells.{self.export}"
        return write_files(target.parent, {target.name: content})
