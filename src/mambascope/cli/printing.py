"""How every report is written: headed lines, tables without rules, probabilities, and JSON that any reader takes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REASONS = 3  # failed facts of a sweep that are named on the screen


def console() -> Console:
    """Stdout, on which what stands in brackets, colons or numbers is text like any other."""
    return Console(markup=False, emoji=False, highlight=False)


def headed(lines: Mapping[str, str]) -> Console:
    """Print one line for each name, the values in one column; the console, to go on with."""
    out = console()
    for name, value in lines.items():
        out.print(f"{name:<11}{value}", soft_wrap=True)
    return out


def headed_sweep(lines: Mapping[str, str], folder: Path) -> Console:
    """The same of a sweep, and below it why its first failed facts failed."""
    from mambascope.runner.folder import SweepFolder
    from mambascope.runner.opening import fact_rows
    from mambascope.runner.tables import FAILED

    out = headed(lines)
    failed = [row for row in fact_rows(SweepFolder(folder)) if row["status"] == FAILED]
    for row in failed[:REASONS]:
        out.print(f"{'failed':<11}{row['fact_id']}: {row['reason']}", soft_wrap=True)
    return out


def table(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, padding=(0, 3, 0, 0), header_style="dim")


def probability(value: float) -> str:
    """Three decimals, or two digits where those would all be zero."""
    return f"{value:.3f}" if value >= 0.001 or value == 0 else f"{value:.1e}"


def json_object(described: Mapping[str, Any]) -> str:
    """One JSON object; JSON has no NaN, so null stands for it."""
    return json.dumps(_plain(dict(described)), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
