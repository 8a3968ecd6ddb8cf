"""What `mambascope reproduce` prints: published beside measured, as a table for people or as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from mambascope.cli.printing import headed, json_object, table

PARTS = (
    ("clean_published", "clean_measured"),
    ("top_published", "top_measured"),
    ("published", "measured"),
)
LEGEND = """
The target no longer reads from the source. Means over prompts and windows; how
far apart two numbers are at most, and in which prompt, from which layer on.
"""
OTHER_MODEL = (
    "The prompts without a knockout differ already, so these are other weights than the published ones, or another tokenizer "
    "or dtype."
)


@dataclass(frozen=True)
class Row:
    """One setting: means over its numbers, and where published and measured are furthest apart."""

    setting: str
    features_cut: str
    published: float
    measured: float
    largest_difference: float
    prompt: str
    start: int | None


def differences(result: xr.Dataset) -> np.ndarray:
    """|measured - published| of all probabilities, in one row; a NaN counts as 1."""
    gaps = [_gap(result[theirs], result[ours]).ravel() for theirs, ours in PARTS]
    return np.concatenate(gaps)


def _gap(theirs: xr.DataArray, ours: xr.DataArray) -> np.ndarray:
    return np.nan_to_num(np.abs(theirs.values - ours.values), nan=1.0)


def agrees(result: xr.Dataset, tolerance: float) -> bool:
    """Whether every probability is as near to the published one as that."""
    return bool((differences(result) <= tolerance).all())


def rows(result: xr.Dataset) -> Iterator[Row]:
    """The prompts as they are, their top tokens, and each knockout."""
    for (theirs, ours), name in zip(PARTS, ("no knockout", "its top tokens"), strict=False):
        yield _row(result[theirs], result[ours], name, "")
    for number in range(result.sizes["knockout"]):
        one = result.isel(knockout=number)
        name = f"{one['source'].item()} > {one['target'].item()}"
        yield _row(one["published"], one["measured"], name, str(one["features_cut"].item()))


def _row(theirs: xr.DataArray, ours: xr.DataArray, setting: str, cut: str) -> Row:
    gap = _gap(theirs, ours)
    where = dict(zip(theirs.dims, np.unravel_index(gap.argmax(), gap.shape), strict=True))
    prompt = str(theirs["prompt"].values[where["prompt"]])
    start = int(theirs["start"].values[where["start"]]) if "start" in where else None
    means = float(theirs.mean()), float(ours.mean())
    return Row(setting, cut, *means, float(gap.max()), prompt, start)


def print_summary(result: xr.Dataset, tolerance: float) -> None:
    """One line per setting, and whether all is within the tolerance, on stdout."""
    attrs, gaps = result.attrs, differences(result)
    lines = {
        "published": f"{attrs['reference']}, {attrs['reference_source']}",
        "measured": f"{attrs['model']}, windows of {attrs['window']} layers",
    }
    console = headed(lines)
    console.print(LEGEND)
    shown = table("source > target", "cut", "published", "measured", "apart", "prompt", "layer")
    shown.padding = (0, 2, 0, 0)  # within 80 columns
    for row in rows(result):
        means = (f"{row.published:.4f}", f"{row.measured:.4f}", f"{row.largest_difference:.1e}")
        start = "" if row.start is None else str(row.start)
        shown.add_row(row.setting, row.features_cut, *means, row.prompt, start)
    console.print(shown)
    beyond = int((gaps > tolerance).sum())
    verdict = "all within" if not beyond else f"{beyond} beyond"
    console.print(
        f"\nlargest difference {gaps.max():.1e} among {gaps.size} probabilities: {verdict} the tolerance of {tolerance:g}",
        soft_wrap=True,
    )
    if _other_model(result, tolerance):
        console.print(OTHER_MODEL, soft_wrap=True)


def _other_model(result: xr.Dataset, tolerance: float) -> bool:
    return bool((_gap(result["clean_published"], result["clean_measured"]) > tolerance).any())


def as_json(result: xr.Dataset, tolerance: float) -> str:
    """Everything, published and measured, as one JSON object."""
    gaps = differences(result)
    told = {
        **result.attrs,
        "tolerance": tolerance,
        "agrees": agrees(result, tolerance),
        "largest_difference": float(gaps.max()),
        "beyond": int((gaps > tolerance).sum()),
        "settings": [asdict(row) for row in rows(result)],
        **{str(name): result[name].values.tolist() for name in result.variables},
    }
    return json_object(told)
