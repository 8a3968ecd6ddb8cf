"""Route ledgers of facts: a cell is a layer, a source and a term, be it a route, the interaction or the total."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactFailure
from mambascope.methods.ledger.config import LedgerConfig
from mambascope.results.ledger import ROUTES
from mambascope.runner.config import LedgerSweep, SweepConfig
from mambascope.runner.methods.base import MIB, SweepMethod
from mambascope.runner.methods.places import places
from mambascope.runner.units import Unit

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel

TERMS = (*ROUTES, "interaction", "total")
FORMS = {
    "single": ("interaction", "total"),
    "shapley": (None, "total"),
    "screened": (None, "screened_total"),
}
"""By column what it holds beside the routes, as interaction and total; None where it has no such thing."""


class LedgerMethod(SweepMethod):
    """`ledger_many` over a fact set. `whole` and `positions` are the source's, repeated in each of its cells."""

    name: ClassVar[str] = "ledger"
    done: ClassVar[str] = "entered"
    doing: ClassVar[str] = "entering"
    option: ClassVar[str] = "ledger"
    cells: ClassVar[pa.Schema] = pa.schema(
        {
            "fact_id": pa.string(),
            "source": pa.string(),
            "positions": pa.string(),
            "whole": pa.float64(),
            "layer": pa.int64(),
            "term": pa.string(),
            **dict.fromkeys(FORMS, pa.float64()),
        }
    )
    by_fact: ClassVar[Mapping[str, pa.DataType]] = {
        "clean_score": pa.float64(),
        "agreement_total": pa.float64(),
    }
    shared: ClassVar[tuple[str, ...]] = ("model", "weights", "measure", "unit", "seed", "versions")

    def check(self, model: "LanguageModel", config: SweepConfig) -> None:
        """See SweepMethod."""
        from mambascope.methods.ledger.run import check_model

        check_model(model)

    def run(
        self, model: "LanguageModel", unit: Unit, config: SweepConfig
    ) -> "Sequence[xr.Dataset | FactFailure]":
        """See SweepMethod."""
        from mambascope.methods.ledger.many import ledger_many

        assert isinstance(config, LedgerSweep)
        return ledger_many(model, unit.facts, config.ledger, memory=config.memory * MIB)

    def length(self, result: xr.Dataset) -> int:
        """See SweepMethod."""
        return len(result.attrs["tokens"])

    def table(self, result: xr.Dataset) -> pa.Table:
        """See SweepMethod; a source that the prompt lacks has no cells."""
        columns = {name: _terms(result, name) for name in FORMS}
        shape = columns["single"].shape
        sources, layers, terms = np.indices(shape).reshape(3, -1)
        given = {
            "fact_id": np.full(len(sources), result.attrs["fact_id"]),
            **{name: result[name].values[sources] for name in ("source", "positions", "whole")},
            "layer": result["layer"].values[layers],
            "term": np.array(TERMS)[terms],
            **{name: _null_for_nan(values) for name, values in columns.items()},
        }
        return pa.table(given, schema=self.cells)

    def axes(self, result: xr.Dataset) -> dict[str, Any]:
        """All sources that were asked about, and how many layers there are."""
        config = LedgerConfig.model_validate_json(result.attrs["config"])
        return {"sources": list(config.sources), "layers": result.sizes["layer"]}

    def labelled(
        self, facts: list[dict[str, Any]], cells: Iterable[pa.Table], shared: dict[str, Any]
    ) -> xr.Dataset:
        """Dims (fact_id, layer, source, route)."""
        ids, sources = [row["fact_id"] for row in facts], shared["sources"]
        shape = (len(ids), shared["layers"], len(sources), len(TERMS))
        values = {name: np.full(shape, np.nan) for name in FORMS}
        whole, positions = (
            np.full((len(ids), len(sources)), np.nan),
            np.full((len(ids), len(sources)), "", dtype=object),
        )
        for part in cells:
            labels = {"fact_id": ids, "source": sources, "term": TERMS}
            fact, source, term = places(part, labels)
            for name, grid in values.items():
                grid[fact, part["layer"].to_numpy(), source, term] = part[name].to_numpy()
            whole[fact, source] = part["whole"].to_numpy()
            positions[fact, source] = part["positions"].to_numpy(zero_copy_only=False)
        by_source = ("fact_id", "source")
        coords = {
            "layer": np.arange(shape[1]),
            "source": sources,
            "route": list(ROUTES),
            "positions": (by_source, positions.astype(str)),
        }
        return xr.Dataset({**_variables(values), "whole": (by_source, whole)}, coords)


def _null_for_nan(values: np.ndarray) -> pa.Array:
    """A column that lacks what there is no number for, as data-frame tools expect it."""
    return pa.array(values.ravel(), from_pandas=True)


def _terms(result: xr.Dataset, form: str) -> np.ndarray:
    """(source, layer, term)."""
    nothing = xr.full_like(result["total"], np.nan)
    rest = [nothing if name is None else result[name] for name in FORMS[form]]
    parts = [result[form].transpose("source", "layer", "route").values]
    parts += [each.transpose("source", "layer").values[..., None] for each in rest]
    return np.concatenate(parts, axis=-1)


def _variables(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The variables of a ledger with the dim `fact_id` in front, from (facts, layers, sources, terms) of each column."""
    by_cell = ("fact_id", "layer", "source")
    found: dict[str, Any] = {
        name: ((*by_cell, "route"), each[..., : len(ROUTES)]) for name, each in values.items()
    }
    for form, rest in FORMS.items():
        told = {name: values[form][..., i - len(rest)] for i, name in enumerate(rest) if name}
        found |= {name: (by_cell, each) for name, each in told.items()}
    return found | {"confirmed": (by_cell, np.isfinite(values["single"][..., -1]))}
