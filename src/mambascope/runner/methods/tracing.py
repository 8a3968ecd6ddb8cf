"""Causal tracing of facts: the subjects are measured over the whole fact set, and a cell is a site, layer and position."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.runner.config import SweepConfig, TraceSweep
from mambascope.runner.methods.base import MIB, Given, SweepMethod
from mambascope.runner.methods.places import places
from mambascope.runner.shard import Shard
from mambascope.runner.units import Unit

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel


@dataclass(frozen=True)
class TraceGiven:
    """What a batch is told.

    statistics: (mean embedding, sigma) of the fact set's subjects, where the corruption needs them
    swaps:      other subjects by fact_id, where the corruption needs them
    """

    statistics: tuple[list[float], float] | None
    swaps: Mapping[str, tuple[str, ...]] | None


class TraceMethod(SweepMethod):
    """`trace_many` over a fact set."""

    name: ClassVar[str] = "trace"
    done: ClassVar[str] = "traced"
    doing: ClassVar[str] = "tracing"
    option: ClassVar[str] = "tracing"
    cells: ClassVar[pa.Schema] = pa.schema(
        {
            "fact_id": pa.string(),
            "site": pa.string(),
            "layer": pa.int64(),
            "position": pa.int64(),
            "token": pa.string(),
            "role": pa.string(),
            "score": pa.float64(),
        }
    )
    by_fact: ClassVar[Mapping[str, pa.DataType]] = {
        "clean_score": pa.float64(),
        "corrupted_score": pa.float64(),
    }
    shared: ClassVar[tuple[str, ...]] = (
        "model", "weights", "direction", "window", "seed", "versions",
    )  # fmt: skip

    def check(self, model: "LanguageModel", config: SweepConfig) -> None:
        """See SweepMethod."""
        from mambascope.methods.tracing.windows import check_sites

        check_sites(model, _own(config).tracing)

    def measured(self, facts: Sequence[FactPrompt], config: SweepConfig) -> Sequence[FactPrompt]:
        """All facts where the corruption needs their subjects' statistics."""
        tracing = _own(config).tracing
        mean = tracing.corruption == "mean" and tracing.reference is None
        return facts if tracing.corruption == "noise" or mean else ()

    def measure(
        self, model: "LanguageModel", facts: Sequence[FactPrompt]
    ) -> tuple[pa.Table, dict[str, Any]]:
        """The mean (D,) of the subjects' embeddings, and their sigma."""
        from mambascope.methods.tracing.corruption import subject_statistics

        found = subject_statistics(model, [(fact.prompt, fact.subject) for fact in facts])
        return pa.table({"mean": found.mean.cpu().numpy()}), {"sigma": found.sigma}

    def given(
        self, facts: Sequence[FactPrompt], config: SweepConfig, measured: Sequence[Shard]
    ) -> Given:
        """The statistics of all, and each fact's own swapped subjects."""
        found = [(shard.table["mean"].to_pylist(), shard.told["sigma"]) for shard in measured]
        statistics, swaps = next(iter(found), None), _swaps(facts, _own(config))

        def told(batch: Sequence[FactPrompt]) -> TraceGiven:
            own = swaps and {fact.fact_id: swaps.get(fact.fact_id, ()) for fact in batch}
            return TraceGiven(statistics, own)

        return told

    def run(
        self, model: "LanguageModel", unit: Unit, config: SweepConfig
    ) -> "Sequence[xr.Dataset | FactFailure]":
        """See SweepMethod."""
        import torch

        from mambascope.methods.tracing.corruption import SubjectStatistics
        from mambascope.methods.tracing.many import trace_many

        given, statistics = unit.given, None
        if given.statistics is not None:
            mean, sigma = given.statistics
            statistics = SubjectStatistics(torch.tensor(mean, device=model.device), sigma)
        own = _own(config)
        return trace_many(
            model, unit.facts, own.tracing, statistics=statistics, swaps=given.swaps, memory=own.memory * MIB,
        )  # fmt: skip

    def length(self, result: xr.Dataset) -> int:
        """See SweepMethod."""
        return result.sizes["position"]

    def table(self, result: xr.Dataset) -> pa.Table:
        """See SweepMethod."""
        score = result["score"].transpose("site", "layer", "position")
        n_sites, n_layers, n_positions = score.shape
        per_layer = n_sites * n_layers
        columns = {
            "fact_id": [result.attrs["fact_id"]] * score.size,
            "site": np.repeat(result["site"].values, n_layers * n_positions),
            "layer": np.tile(np.repeat(np.arange(n_layers), n_positions), n_sites),
            "position": np.tile(np.arange(n_positions), per_layer),
            "token": result["token"].values.tolist() * per_layer,
            "role": result["role"].values.tolist() * per_layer,
            "score": score.values.ravel(),
        }
        return pa.table(columns, schema=self.cells)

    def axes(self, result: xr.Dataset) -> dict[str, Any]:
        """The sites, and how many layers there are."""
        return {"sites": result["site"].values.tolist(), "layers": result.sizes["layer"]}

    def labelled(
        self, facts: list[dict[str, Any]], cells: Iterable[pa.Table], shared: dict[str, Any]
    ) -> xr.Dataset:
        """Dims (fact_id, site, layer, position)."""
        ids, sites = [row["fact_id"] for row in facts], shared["sites"]
        shape = (len(ids), len(sites), shared["layers"], max(row["length"] for row in facts))
        score = np.full(shape, np.nan)
        token = np.full((shape[0], shape[3]), "", dtype=object)
        role = token.copy()
        for part in cells:
            fact, site = places(part, {"fact_id": ids, "site": sites})
            layer, position = part["layer"].to_numpy(), part["position"].to_numpy()
            score[fact, site, layer, position] = part["score"].to_numpy()
            once = (site == 0) & (layer == 0)
            place = fact[once], position[once]
            token[place] = part["token"].to_numpy()[once]
            role[place] = part["role"].to_numpy()[once]
        coords = {
            "site": sites,
            "layer": np.arange(shape[2]),
            "position": np.arange(shape[3]),
            "token": (("fact_id", "position"), token.astype(str)),
            "role": (("fact_id", "position"), role.astype(str)),
        }
        return xr.Dataset({"score": (("fact_id", "site", "layer", "position"), score)}, coords)


def _own(config: SweepConfig) -> TraceSweep:
    assert isinstance(config, TraceSweep)
    return config


def _swaps(facts: Sequence[FactPrompt], config: TraceSweep) -> dict[str, tuple[str, ...]] | None:
    if config.tracing.corruption != "swap":
        return None
    from mambascope.methods.tracing.swaps import swap_subjects

    return swap_subjects(facts, config.swaps, config.tracing.seed)
