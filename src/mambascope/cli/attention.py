"""`mambascope attention`: what does each token read of each other, and what do the states still hold at the end?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mambascope.cli.model_command import ModelCommand
from mambascope.methods.attention.config import AttentionConfig

if TYPE_CHECKING:
    import xarray as xr

METHOD = "attention"
MEMORY = ("retention", "half_lives")  # methods of the results beside it, and their folders


@dataclass(frozen=True, kw_only=True)
class Attention(ModelCommand):
    """Effective attention: how much each token reads of each earlier one, by layer; of a Mamba also what its state retains."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """A text, such as "The capital of France is"."""
    options: Annotated[AttentionConfig, tyro.conf.arg(name="")] = field(
        default_factory=AttentionConfig
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the figures (PNG and HTML), the table and its manifest; of a Mamba also retention/ and half_lives/."""

    def run(self) -> None:
        """Compute the maps, print what was found, and write the files."""
        from mambascope.cli import attention_report
        from mambascope.results.folder import check_folder

        if self.out is not None:
            check_folder(self.out, METHOD)
            for part in MEMORY:
                check_folder(self.out / part, part)
        result, memory = self._compute()
        if self.json:
            print(attention_report.as_json(result, memory, self._save(result, memory)))
            return
        attention_report.print_summary(result, memory)
        for path in self._save(result, memory):
            print(f"wrote {path}")

    def _compute(self) -> "tuple[xr.Dataset, dict[str, xr.Dataset]]":
        """The maps, and of a Mamba what it remembers."""
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            from mambascope.methods.attention.memory import half_life_spectrum, retention
            from mambascope.methods.attention.run import effective_attention

            model = self._load()
            given: dict[str, Any] = self.options.model_dump()
            result = effective_attention(
                model, self.prompt, **given, progress=bar.follow("blocks of tokens")
            )
            if "state" not in model.sites:
                return result, {}
            layers = result["layer"].values.tolist()
            memory = {
                "retention": retention(model, self.prompt, layers),
                "half_lives": half_life_spectrum(model, self.prompt, layers),
            }
            return result, memory

    def _save(self, result: "xr.Dataset", memory: "dict[str, xr.Dataset]") -> list[Path]:
        if self.out is None:
            return []
        from mambascope.plots.attention import attention_png
        from mambascope.plots.attention_page import attention_html
        from mambascope.plots.memory import retention_png, spectrum_png
        from mambascope.plots.memory_page import retention_html, spectrum_html
        from mambascope.results.store import save

        drawn = {
            "retention": (retention_png, retention_html),
            "half_lives": (spectrum_png, spectrum_html),
        }
        figures: dict[str, bytes] = {}
        if result["attention"].ndim == 3:  # maps by channel or head are too many to draw
            figures = {
                "attention.png": attention_png(result),
                "attention.html": attention_html(result).encode(),
            }
        written = save(result, self.out, figures)
        for name, part in memory.items():
            png, page = drawn[name]
            files = {f"{name}.png": png(part), f"{name}.html": page(part).encode()}
            written += save(part, self.out / name, files)
        return written
