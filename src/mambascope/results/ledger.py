"""What a route ledger is made of: its routes, the terms that sum to a total, and the forms of its datasets."""

import xarray as xr

from mambascope.errors import ConfigError
from mambascope.results.schema import Schema

ROUTES = ("state", "conv", "gate", "skip", "query")
FORMS = ("single", "shapley")
MEAN = ("effect", "low", "high", "n", "p", "q")

LEDGER = Schema(
    method="ledger",
    variables=dict.fromkeys(("single", "shapley", "screened"), ("layer", "source", "route"))
    | dict.fromkeys(("total", "interaction", "screened_total", "confirmed"), ("layer", "source"))
    | {"whole": ("source",), "agreement": ("route",)},
    coords={"layer": ("layer",), "source": ("source",), "route": ("route",)},
    attrs=("prompt", "answer", "clean_score", "measure", "unit", "model", "config"),
)

LEDGER_SWEEP = Schema(
    method="sweep.ledger",
    variables={
        name: ("fact_id", *dims) for name, dims in LEDGER.variables.items() if name != "agreement"
    },
    coords={**LEDGER.coords}
    | dict.fromkeys(("fact_id", "prompt", "clean_score", "agreement_total"), ("fact_id",))
    | {"positions": ("fact_id", "source")},
    attrs=("model", "weights", "measure", "unit", "config", "seed", "versions"),
)

MEAN_LEDGER = Schema(
    method="aggregate.ledger",
    variables=dict.fromkeys(
        (*MEAN, *(f"above_{name}" for name in MEAN)), ("layer", "source", "term")
    ),
    coords={"layer": ("layer",), "source": ("source",), "term": ("term",)},
    attrs=("form", "measure", "unit", "facts", "confidence", "model"),
)


def terms(ledger: xr.Dataset, form: str) -> xr.DataArray:
    """What sums to the total, and the total, with dims (layer, source, term); of a sweep with fact_id in front.

    form: "single" is the effect of each route alone, then `interaction`; "shapley" each route's Shapley value
    Raises ConfigError for another form.
    """
    if form not in FORMS:
        raise ConfigError(f"unknown form {form!r}; it is one of: {', '.join(FORMS)}")
    rest = ("interaction", "total") if form == "single" else ("total",)
    parts = [ledger[form].rename(route="term")]
    parts += [ledger[name].expand_dims(term=[name], axis=-1) for name in rest]
    return xr.concat(parts, "term").transpose(..., "layer", "source", "term")
