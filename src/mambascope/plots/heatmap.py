"""What a heatmap of a causal trace shows, on paper and on screen alike.

The scale runs from the corrupted run's score to the clean run's (or the best cell's, if that is higher). White is where the
exchange did nothing and dark where it did all: after restoring high scores are dark, after corrupting low ones.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mambascope.errors import OutputError
from mambascope.plots.labels import model_label, shortened, token_label
from mambascope.results.schema import TRACE, conform

COLOURS = {"restore": "Purples", "corrupt": "Purples_r"}
VERBS = {"restore": "restoring", "corrupt": "corrupting"}
SUBJECT_COLOUR = "#b3261e"
LONGEST_PROMPT = 200


@dataclass(frozen=True)
class Heatmap:
    """What both kinds of figure show."""

    score: np.ndarray
    layers: list[int]
    tokens: list[str]
    roles: list[str]
    low: float
    high: float
    prompt: str
    what: str
    scores: str
    bar: str
    colours: str

    @property
    def labels(self) -> list[str]:
        """Each token's label; the subject's carry a star."""
        return [
            token_label(token) + ("*" if is_subject else "")
            for token, is_subject in zip(self.tokens, self.subject, strict=True)
        ]

    @property
    def subject(self) -> list[bool]:
        """True for the positions of the subject."""
        return [role.startswith("subject") for role in self.roles]


def read_trace(result: xr.Dataset, *, normalise: bool = False) -> Heatmap:
    """The heatmap of a trace; with `normalise` 0 is the corrupted run's score and 1 the clean run's.

    Raises OutputError if the result is no trace, or if the two scores are equal and cannot be the ends of a scale.
    """
    conform(result, TRACE)
    attrs = result.attrs
    clean, corrupted = attrs["clean_score"], attrs["corrupted_score"]
    score = result["score"].values
    ends = (corrupted, clean)
    if normalise:
        score, ends = _normalised(score, *ends), (0.0, 1.0)
    high = max(ends[1], float(np.nanmax(score)))
    low = min(ends[0], high)
    answer = repr(attrs["answer"].strip() or attrs["answer"])
    window = attrs.get("window") or 1
    verb = VERBS[attrs["direction"]]
    over = f" over {window} layers" if window > 1 else ""
    return Heatmap(
        score=score,
        layers=result["layer"].values.tolist(),
        tokens=[str(token) for token in result["token"].values],
        roles=[str(role) for role in result["role"].values],
        low=low,
        high=high if high > low else low + 1e-6,
        prompt=shortened(" ".join(attrs["prompt"].split()), LONGEST_PROMPT),
        what=f"{verb} {attrs['site']}{over} in {model_label(attrs['model'])}",
        scores=f"probability of {answer}: clean {clean:.3f}, corrupted {corrupted:.3f}",
        bar=(
            f"probability of {answer} after {verb},\n0 as corrupted, 1 as clean"
            if normalise
            else f"probability of {answer} after {verb}"
        ),
        colours=COLOURS[attrs["direction"]],
    )


def _normalised(score: np.ndarray, corrupted: float, clean: float) -> np.ndarray:
    if clean == corrupted:
        raise OutputError(
            f"clean and corrupted score are both {clean:.4g}, so scores cannot be normalised between them"
        )
    return (score - corrupted) / (clean - corrupted)


def tick_step(count: int, most: int) -> int:
    """Label every n-th of `count` cells so that at most `most` labels are drawn."""
    return -(-count // most)
