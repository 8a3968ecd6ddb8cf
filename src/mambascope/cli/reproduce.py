"""`mambascope reproduce`: do the published settings give the published numbers on these weights?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from mambascope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run published settings on real weights, and print published beside measured; exit code 1 if they differ."""

    what: Annotated[
        Literal["mamba-knockout"], tyro.conf.Positional, tyro.conf.arg(metavar="mamba-knockout")
    ]
    """Mamba Knockout (Endy et al. 2025) on mamba-130m or mamba2-130m."""
    model: str
    """A folder or a hub id with the weights: state-spaces/mamba-130m-hf or state-spaces/mamba2-130m."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """For weights without one (state-spaces/mamba2-130m): a tokenizer.json, a folder or a hub id: EleutherAI/gpt-neox-20b."""
    reference: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Numbers of other models, in the layout of the file that comes with the package (docs/reproduce.md)."""
    tolerance: float = TOLERANCE
    """How far a probability may be from the published one."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> int:
        """Measure, print, and return the exit code: 0 if all numbers are within the tolerance, else 1."""
        from mambascope.cli import reproduce_report

        if not 0 < self.tolerance <= 1:
            raise ConfigError(
                f"--tolerance: a probability above 0 and up to 1 is needed, but {self.tolerance:g} was given"
            )
        result = self._reproduce()
        if self.json:
            print(reproduce_report.as_json(result, self.tolerance))
        else:
            reproduce_report.print_summary(result, self.tolerance)
        return 0 if reproduce_report.agrees(result, self.tolerance) else 1

    def _reproduce(self) -> "xr.Dataset":
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            from mambascope.methods.knockout.published import read_published
            from mambascope.methods.knockout.reproduce import reproduce
            from mambascope.models.load import load

            published = read_published(self.reference)
            model = load(self.model, self.device, self.dtype, self.tokenizer)
            return reproduce(model, published, progress=bar.follow("knockouts"))
