"""`mambascope compare`: several sweeps of knockouts side by side, on the facts that all of them have."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import xarray as xr

METHOD = "compare.knockout"


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare models: sweeps of knockouts over the same facts, by what is cut and how deep in the model."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """What `mambascope sweep knockout --out` wrote, two folders or more."""
    quantity: Literal["score", "change", "hit"] = "score"
    """The answer's probability, its change in per cent, or the share of facts with the answer on top."""
    rank: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """Only the facts whose answer has such a rank for every one of the models: 1, <=3, <=5 or 2-5."""
    name: Annotated[tuple[str, ...], tyro.conf.arg(metavar="STR ...")] = ()
    """What the sweeps are called, by default their models."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the figure, the table and its manifest."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Print where the answer falls most in each model and where the models differ most, and write the files."""
        from mambascope.cli.flow_report import curves
        from mambascope.cli.printing import json_object
        from mambascope.methods.knockout.aggregate import model_differences, model_flows
        from mambascope.results.folder import check_folder
        from mambascope.runner.opening import open_results

        if self.out is not None:
            check_folder(self.out, METHOD)
        sweeps = [open_results(folder) for folder in self.folders]
        chosen = {"quantity": self.quantity, "rank": self.rank, "names": self.name or None}
        flows = model_flows(sweeps, **chosen)
        differences = model_differences(sweeps, **chosen)
        files = self._save(flows, differences)
        if self.json:
            described = {
                "models": {flow.attrs["model"]: curves(flow) for flow in flows},
                "differences": {each.attrs["model"]: curves(each) for each in differences},
                "files": [str(path) for path in files],
            }
            print(json_object(described))
            return
        self._print(flows, differences)
        for path in files:
            print(f"wrote {path}")

    def _print(self, flows: "list[xr.Dataset]", differences: "list[xr.Dataset]") -> None:
        from mambascope.cli.flow_report import lowest_table
        from mambascope.cli.printing import console

        out = console()
        for flow in flows:
            attrs = flow.attrs
            clean = "" if self.quantity == "change" else f", {attrs['clean']:.3f} clean"
            what = f"{attrs['model']}: {attrs['facts']} facts, {attrs['unit']}{clean}"
            out.print(what, lowest_table(flow), "", sep="\n")
        for each in differences:
            what = f"{each.attrs['model']}: {each.attrs['unit']}, {each.attrs['title']}, where they differ most"
            out.print(what, lowest_table(each), "", sep="\n")

    def _save(self, flows: "list[xr.Dataset]", differences: "list[xr.Dataset]") -> list[Path]:
        from mambascope.methods.knockout.aggregate import compared
        from mambascope.plots.effect_files import png
        from mambascope.plots.knockout import models_figure
        from mambascope.results.store import save

        if self.out is None:
            return []
        return save(
            compared(flows, differences), self.out, {"compare.png": png(models_figure(*flows))}
        )
