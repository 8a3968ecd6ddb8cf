"""`mambascope models`: the bundled models with their figures, and what else can be loaded."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

SOURCES = (
    "a Hugging Face hub id, such as state-spaces/mamba-130m-hf",
    "a folder in the layout of transformers (safetensors or .bin) or of state-spaces/mamba (without a tokenizer: name one, "
    "--tokenizer)",
    "a GGUF file (needs the extra `gguf`)",
)
TOO_MUCH = (
    "unseen_by_relation",
    "n",
)  # for a table: these, and intervals, are in the model card and in --json


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the bundled models with their figures, and what else can be loaded."""

    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Print the list."""
        from mambascope.cli.printing import console

        bundled = bundled_models()
        if self.json:
            others = {"sources": list(SOURCES), "model_types": loadable_types()}
            print(json.dumps({"bundled": bundled, "others": others}, ensure_ascii=False))
            return
        out = console()
        out.print("bundled:")
        for name, model in bundled.items():
            missing = "" if model["installed"] else " (not in this installation)"
            out.print(f"  {name}  {model['description']}{missing}", soft_wrap=True)
        if any(model["figures"] for model in bundled.values()):
            out.print(_figures_table(bundled))
        out.print("\nelse, as --model:")
        for source in SOURCES:
            out.print(f"  {source}", soft_wrap=True)
        out.print(f"of the types: {', '.join(loadable_types())}", soft_wrap=True)


def bundled_models() -> dict[str, dict[str, Any]]:
    """Each bundled model's description and figures, and whether its weights are here."""
    from mambascope.errors import ModelError
    from mambascope.models.bundled import BUNDLED, bundled_folder

    found = {}
    for name, description in BUNDLED.items():
        figures: dict[str, Any] = {}
        try:
            path = bundled_folder(name) / "figures.json"
            installed = True
            if path.is_file():
                figures = json.loads(path.read_text(encoding="utf-8"))
        except ModelError:
            installed = False
        found[name] = {"description": description, "installed": installed, "figures": figures}
    return found


def loadable_types() -> list[str]:
    """The model types that `load` understands, as their config.json names them."""
    from mambascope.models.checkpoints.catalogue import STATE_SPACES, TRANSFORMERS

    return [*TRANSFORMERS, *(f"{kind} (state-spaces)" for kind in STATE_SPACES)]


def flat(figures: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested figures with one name each: {"seen": {"exact": 0.98}} gives {"seen exact": 0.98}."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        if name in TOO_MUCH:
            continue
        label = f"{before}{name}".replace("_", " ")
        found |= flat(value, f"{label} ") if isinstance(value, dict) else {label: value}
    return found


def shown(figure: Any) -> str:
    """A share as per cent, [share, low, high] without its interval, a count with thousands set apart."""
    if isinstance(figure, list):
        return shown(figure[0])
    if isinstance(figure, float) and 0 <= figure <= 1:
        return f"{figure:.1%}"
    if isinstance(figure, int) and not isinstance(figure, bool):
        return f"{figure:,}"
    return "" if figure is None else str(figure)


def _figures_table(bundled: dict[str, dict[str, Any]]) -> "Table":
    """One row per figure, one column per model."""
    from rich.table import Column, Table

    figures = [flat(model["figures"]) for model in bundled.values()]
    table = Table(
        Column("", no_wrap=True), *bundled, box=None, padding=(0, 1, 0, 0), header_style="dim"
    )
    for label in dict.fromkeys(label for own in figures for label in own):
        table.add_row(label, *(shown(own.get(label)) for own in figures))
    return table
