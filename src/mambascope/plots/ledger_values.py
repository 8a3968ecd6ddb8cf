"""What the figures of a route ledger show, on paper and on screen alike: terms that sum to the total, in one of two forms.

Colours are centred on zero, purple where the answer falls and orange where it rises, and as strong on either side. Where a cell
was screened only, its estimate is shown and marked.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.plots.labels import model_label, shortened
from mambascope.results.ledger import LEDGER, terms
from mambascope.results.schema import conform

COLOURS = "PuOr"
LONGEST_PROMPT = 200
MEASURES = {"log_probability": "log-probability", "probability": "probability"}
FORMS = {
    "single": "each route alone, and their interaction",
    "shapley": "Shapley values of the routes",
}
# Okabe & Ito's palette, which people with any colour vision can tell apart.
TERM_COLOURS = {
    "state": "#0072b2",
    "conv": "#d55e00",
    "gate": "#009e73",
    "skip": "#cc79a7",
    "query": "#e69f00",
    "interaction": "#999999",
    "total": "#000000",
}


@dataclass(frozen=True)
class LedgerValues:
    """One fact's ledger.

    values:    the fall of the answer, (layers, sources, terms), the last term being the total
    estimated: cells that were screened only, (layers, sources)
    whole:     the fall when the target reads nothing of each source in any layer
    """

    values: np.ndarray
    estimated: np.ndarray
    whole: list[float]
    layers: list[int]
    sources: list[str]
    terms: list[str]
    prompt: str
    about: str
    bar: str

    @property
    def limit(self) -> float:
        """The end of the colour scale that all terms share."""
        return float(np.nanmax(np.abs(self.values), initial=0.0)) or 1e-6

    @property
    def labels(self) -> list[str]:
        """The sources as words."""
        return [in_words(name) for name in self.sources]


def read_ledger(result: xr.Dataset, form: str = "single") -> LedgerValues:
    """The values of one fact's ledger; OutputError if it is none, ConfigError for another form than single and shapley."""
    conform(result, LEDGER)
    exact, attrs = terms(result, form), result.attrs
    estimated = ~result["confirmed"].values.astype(bool)
    values = np.where(estimated[..., None], terms(_screened(result), form).values, exact.values)
    answer = repr(attrs["answer"].strip() or attrs["answer"])
    measure = MEASURES[attrs["measure"]]
    return LedgerValues(
        values=values,
        estimated=estimated,
        whole=result["whole"].values.tolist(),
        layers=result["layer"].values.tolist(),
        sources=[str(name) for name in result["source"].values],
        terms=[str(name) for name in exact["term"].values],
        prompt=shortened(" ".join(attrs["prompt"].split()), LONGEST_PROMPT),
        about=(
            f"{model_label(attrs['model'])}: {FORMS[form]}; "
            f"{measure} of {answer} with nothing changed: {attrs['clean_score']:.3f}"
        ),
        bar=f"fall of the {measure} of {answer}" + (" (nats)" if attrs["unit"] == "nats" else ""),
    )


def headings(names: list[str]) -> list[str]:
    """The terms in words, with the sign between them: the last is what the others sum to."""
    signs = ["", *["+ "] * (len(names) - 2), "= "]
    return [sign + in_words(name) for sign, name in zip(signs, names, strict=True)]


def in_words(name: str) -> str:
    """A source or a term as words."""
    return name.replace("_", " ")


def _screened(result: xr.Dataset) -> xr.Dataset:
    """The ledger as it was estimated. A route has one estimate, which stands for its Shapley value too."""
    single, total = result["screened"], result["screened_total"]
    rest = total - single.sum("route")
    return result.assign(single=single, shapley=single, total=total, interaction=rest)
