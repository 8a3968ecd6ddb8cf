"""Knockout of facts: a cell is a source and a window's start, or a position and a window's start."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactFailure
from mambascope.runner.config import KnockoutSweep, SweepConfig
from mambascope.runner.methods.base import MIB, SweepMethod
from mambascope.runner.methods.places import places
from mambascope.runner.units import Unit

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel


class KnockoutMethod(SweepMethod):
    """`knockout_many` over a fact set. `position`, `token` and `role` are there where positions are cut one by one."""

    name: ClassVar[str] = "knockout"
    done: ClassVar[str] = "cut"
    doing: ClassVar[str] = "cutting"
    option: ClassVar[str] = "knockout"
    cells: ClassVar[pa.Schema] = pa.schema(
        {
            "fact_id": pa.string(),
            "source": pa.string(),
            "position": pa.int64(),
            "token": pa.string(),
            "role": pa.string(),
            "start": pa.int64(),
            "score": pa.float64(),
            "hit": pa.float64(),
            "change": pa.float64(),
        }
    )
    by_fact: ClassVar[Mapping[str, pa.DataType]] = {
        "clean_score": pa.float64(),
        "clean_rank": pa.int64(),
        "missing": pa.string(),
    }
    shared: ClassVar[tuple[str, ...]] = (
        "model", "weights", "target", "window", "route", "mode", "features", "seed", "versions",
    )  # fmt: skip

    def check(self, model: "LanguageModel", config: SweepConfig) -> None:
        """See SweepMethod."""
        from mambascope.methods.knockout.settings import Settings

        assert isinstance(config, KnockoutSweep)
        Settings(model, config.knockout)

    def run(
        self, model: "LanguageModel", unit: Unit, config: SweepConfig
    ) -> "Sequence[xr.Dataset | FactFailure]":
        """See SweepMethod."""
        from mambascope.methods.knockout.many import knockout_many

        assert isinstance(config, KnockoutSweep)
        return knockout_many(model, unit.facts, config.knockout, memory=config.memory * MIB)

    def length(self, result: xr.Dataset) -> int:
        """See SweepMethod."""
        return len(result.attrs["tokens"])

    def table(self, result: xr.Dataset) -> pa.Table:
        """See SweepMethod; a source that the prompt lacks has no cells."""
        dim = _dim(result)
        n_rows, n_starts = result.sizes[dim], result.sizes["start"]
        by_position = dim == "position"

        def spread(name: str) -> list[Any]:
            given = result[name].values if by_position else np.full(n_rows, None)
            return np.repeat(given, n_starts).tolist()

        columns = {
            "fact_id": [result.attrs["fact_id"]] * (n_rows * n_starts),
            "source": ["each"] * (n_rows * n_starts)
            if by_position
            else np.repeat(result["source"].values, n_starts),
            **{name: spread(name) for name in ("position", "token", "role")},
            "start": np.tile(result["start"].values, n_rows),
            **{name: result[name].values.ravel() for name in ("score", "hit", "change")},
        }
        there = np.repeat(np.isfinite(result["score"].values[:, 0]), n_starts)
        return pa.table(columns, schema=self.cells).filter(pa.array(there))

    def axes(self, result: xr.Dataset) -> dict[str, Any]:
        """The windows, and the sources; no sources where positions are cut one by one."""
        names = ("start", "first_layer", "last_layer")
        windows = {name: result[name].values.tolist() for name in names}
        sources = result["source"].values.tolist() if _dim(result) == "source" else None
        return {**windows, "sources": sources}

    def labelled(
        self, facts: list[dict[str, Any]], cells: Iterable[pa.Table], shared: dict[str, Any]
    ) -> xr.Dataset:
        """Dims (fact_id, source, start) or (fact_id, position, start)."""
        ids, starts, sources = [row["fact_id"] for row in facts], shared["start"], shared["sources"]
        dim = "position" if sources is None else "source"
        labels = sources or [*range(max(row["length"] for row in facts))]
        shape = (len(ids), len(labels), len(starts))
        values = {name: np.full(shape, np.nan) for name in ("score", "hit", "change")}
        texts = {name: np.full(shape[:2], "", dtype=object) for name in ("token", "role")}
        for part in cells:
            at = places(part, {"fact_id": ids, dim: labels, "start": starts})
            for name, grid in values.items():
                grid[at] = part[name].to_numpy()
            for name, grid in texts.items():
                grid[at[:2]] = part[name].to_numpy(zero_copy_only=False)
        coords: dict[str, Any] = {dim: labels, "start": starts}
        coords |= {name: ("start", shared[name]) for name in ("first_layer", "last_layer")}
        if dim == "position":
            given = {name: text.astype(str) for name, text in texts.items()}
            coords |= {name: (("fact_id", dim), text) for name, text in given.items()}
        dims = ("fact_id", dim, "start")
        return xr.Dataset({name: (dims, grid) for name, grid in values.items()}, coords)


def _dim(result: xr.Dataset) -> str:
    return "position" if "position" in result.dims else "source"
