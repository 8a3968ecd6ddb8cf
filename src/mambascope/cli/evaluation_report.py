"""What `mambascope evaluate` and `mambascope show` tell of an evaluation: means by category, differences, and the figure."""

import csv
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table

from mambascope.cli.printing import console, json_object, table

SHOWN = (
    "exact",
    "f1",
    "contained",
    "logprob",
)  # on the screen; the table on disk has all, with intervals
WITH_INTERVAL = "exact"


class Report:
    """Of one evaluation, or of two that are compared."""

    def __init__(self, results: Sequence[xr.Dataset]) -> None:
        self.results = results

    @cached_property
    def means(self) -> list[xr.Dataset]:
        """By category, for each evaluation."""
        from mambascope.methods.evaluation.aggregate import by_category

        return [by_category(result) for result in self.results]

    @cached_property
    def difference(self) -> xr.Dataset | None:
        """Second minus first, where there are two."""
        from mambascope.methods.evaluation.aggregate import paired

        return paired(*self.results) if len(self.results) > 1 else None

    def figures(self) -> dict[str, bytes]:
        """The capability figure."""
        from mambascope.plots.effect_files import png
        from mambascope.plots.evaluation import capability_figure

        return {"capability.png": png(capability_figure(*self.means))}

    def write(self, folder: Path) -> list[Path]:
        """Summary table, JSON summary and figure, beside the table that has one row per question."""
        from mambascope.results.folder import write_files

        written = {"summary.csv": _csv(self.rows()), **self.figures()}
        paths = write_files(folder, {**written, "summary.json": self.json([]).encode()})
        return [folder / "facts.parquet", *paths]

    def rows(self) -> list[dict[str, Any]]:
        """One row per evaluation, category and score; and per difference."""
        found = [
            {"what": mean.attrs["label"], **cell}
            for mean in self.means
            for cell in _cells(mean, ("mean", "low", "high", "n"))
        ]
        if self.difference is not None:
            named = f"{self.difference.attrs['second']} minus {self.difference.attrs['first']}"
            parts = ("effect", "low", "high", "n", "p", "q")
            for cell in _cells(self.difference, parts):
                found.append({"what": named, "mean": cell.pop("effect"), **cell})
        return found

    def json(self, files: Sequence[Path]) -> str:
        """Everything as one JSON object."""
        names = ("model", "weights", "changed", "questions", "skipped", "failed", "max_new_tokens")
        told = [{name: mean.attrs[name] for name in names} for mean in self.means]
        listed = {"files": [str(path) for path in files]} if files else {}
        level = {"confidence": self.means[0].attrs["confidence"]}
        described = {"evaluations": told, **level, "summary": self.rows(), **listed}
        return json_object(described)

    def print(self) -> None:
        """The means by category of each evaluation, and the differences, on stdout."""
        out = console()
        for mean in self.means:
            attrs = mean.attrs
            out.print(
                f"{attrs['label']}: {attrs['questions']} questions answered, {attrs['skipped']} skipped, "
                f"{attrs['failed']} failed; mean [{100 * attrs['confidence']:g} % interval over questions]",
                soft_wrap=True,
            )
            out.print(_shown(mean, "mean"), "", sep="\n")
        if self.difference is not None:
            attrs = self.difference.attrs
            said = f"{attrs['second']} minus {attrs['first']} on the same {attrs['questions']} questions; * q < "
            out.print(f"{said}{1 - attrs['confidence']:.2f}", soft_wrap=True)
            out.print(_shown(self.difference, "effect"), "", sep="\n")


def _shown(cells: xr.Dataset, value: str) -> Table:
    shown = table("category", "n", *(score.replace("_", " ") for score in SHOWN))
    shown.padding = (0, 2, 0, 0)  # within 80 columns
    for column in shown.columns:
        column.no_wrap = True
    for name in cells["category"].values.tolist():
        own = cells.sel(category=name)
        numbers = [
            _number(own.sel(score=score), score, value, 1 - cells.attrs["confidence"])
            for score in SHOWN
        ]
        shown.add_row(name.replace("_", " "), str(int(own["n"].max())), *numbers)
    return shown


def _number(cell: xr.Dataset, score: str, value: str, level: float) -> str:
    mean, low, high = (float(cell[part]) for part in (value, "low", "high"))
    star = "*" if "q" in cell and float(cell["q"]) < level else ""
    shown = score == WITH_INTERVAL and not np.isnan(low)
    interval = f" [{low:.2f}, {high:.2f}]" if shown else ""
    return f"{mean:.2f}{interval}{star}"


def _cells(result: xr.Dataset, parts: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"category": category, "score": score}
        | {part: result[part].sel(category=category, score=score).item() for part in parts}
        for category in result["category"].values.tolist()
        for score in result["score"].values.tolist()
    ]


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    written = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(written, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()
