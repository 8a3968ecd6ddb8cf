"""The sweeps of knockouts and of route ledgers behind findings about information flow, with their tables and figures.

    python scripts/findings/flow.py runs [--workers 2] [--limit N] [--known-1000 FILE --smollm2 FILE] [--figures docs/images]

Runs every sweep into a folder of its own under `runs` (one that is finished costs nothing, one that was interrupted goes on),
then prints the tables in Markdown and draws the figures. With ROME's known facts and a SmolLM2-135M in GGUF, that
model is asked too.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from _shared import interval, run

import mambascope as ms
from mambascope.methods.knockout.aggregate import mean_flow, model_flows, source_contrast
from mambascope.methods.ledger.mean import mean_ledger
from mambascope.plots.knockout import knockout_png, models_figure
from mambascope.plots.ledger_mean import mean_ledger_png

SOURCES = (
    "first",
    "subject",
    "subject_first",
    "subject_last",
    "relation_minus_last",
    "last",
    "random:subject",
    "random:subject_last",
    "random:relation_minus_last",
)
DRAWN = ("first", "subject", "relation_minus_last", "last", "random:subject")
ONE_OTHER = "random:subject_last"
"""One random token beside the subject's last: the control of every source of one token that has none of its own."""
FEATURES = ("slow", "fast", "slow_measured", "fast_measured")
LEDGER_ROLES = ("before", "subject_first", "subject_middle", "subject_last", "after")
RANDOM_THIRDS = 5  # draws of as many features as the slow or the fast are


@dataclass(frozen=True)
class Study:
    """One model on one fact set.

    window:   a third of its layers, as 9 of 24 are
    features: how many channels or heads a Mamba's layer has; 0 for a transformer
    """

    name: str
    model: str
    facts: str
    window: int
    features: int

    @property
    def mamba(self) -> bool:
        """Whether it has a scan."""
        return self.features > 0

    def random_third(self, draw: int) -> str:
        """As many features as the slow or the fast are, the same numbers in every layer."""
        drawn = np.random.default_rng(draw).permutation(self.features)[: self.features // 3]
        return ",".join(map(str, sorted(drawn.tolist())))

    def sweeps(self, limit: list[str]) -> dict[str, list[str]]:
        """The options of each sweep, by the name of its folder."""
        every = ["--source", *SOURCES, "--window", str(self.window), *limit]
        one = ["--source", "subject", "random:subject", "--window", str(self.window), *limit]
        if not self.mamba:
            return {
                f"{self.name}-mask": [*every, "--mode", "mask"],
                f"{self.name}-zero": [*every, "--mode", "zero"],
            }
        routes = {f"{self.name}-{r}": [*every, "--route", r] for r in ("scan", "conv", "both")}
        modes = {f"{self.name}-{m}": [*one, "--mode", m] for m in ("no_decay", "mean")}
        parts = {
            f"{self.name}-{'not-' * inverse}{f}": [*one, "--features", "not " * inverse + f]
            for f in FEATURES
            for inverse in (False, True)
        }
        controls = {
            f"{self.name}-random-third-{draw}": [*one, "--features", self.random_third(draw)]
            for draw in range(RANDOM_THIRDS)
        }
        return routes | modes | parts | controls


ATLAS = (
    Study("atlas-mamba1", "atlas-mamba1", "bundled", 4, 320),
    Study("atlas-mamba2", "atlas-mamba2", "bundled", 4, 10),
    Study("atlas-transformer", "atlas-transformer", "bundled", 3, 0),
)


def main() -> None:
    """Run what is missing, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--known-1000", type=Path)
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--figures", type=Path)
    chosen = parser.parse_args()
    studies = list(ATLAS)
    if chosen.smollm2 and chosen.known_1000:
        studies.append(Study("smollm2", str(chosen.smollm2), str(chosen.known_1000), 10, 0))
    limit = [] if chosen.limit is None else ["--limit", str(chosen.limit)]
    for study in studies:
        for name, options in study.sweeps(limit).items():
            common = ["--facts", study.facts, "--only-known", "--model", study.model]
            target = ["--out", str(chosen.runs / name)]
            run(["sweep", "knockout", *common, *options, *target], chosen.workers)
    ledgers = {
        study.name: ledger_of(study, chosen.runs, limit, chosen.workers)
        for study in ATLAS
        if study.mamba
    }
    for study in studies:
        print(f"\n### {study.name}\n", *tables(study, chosen.runs), sep="\n")
        if study.name in ledgers:
            print("\nRoute ledger:\n", *ledger_table(ledgers[study.name]), sep="\n")
    if chosen.figures:
        figures(studies, chosen.runs, ledgers, chosen.figures)


def ledger_of(study: Study, runs: Path, limit: list[str], workers: int) -> xr.Dataset:
    """The mean ledger of the study's known facts, each source beside its random control."""
    sources = [*LEDGER_ROLES, *(f"random:{role}" for role in LEDGER_ROLES)]
    facts = ["--facts", study.facts, "--only-known", *limit]
    out = runs / f"{study.name}-ledger"
    asked = ["--model", study.model, "--source", *sources, "--out", str(out)]
    run(["sweep", "ledger", *facts, *asked], workers)
    return mean_ledger(ms.open_results(out))


def tables(study: Study, runs: Path) -> Iterator[str]:
    """The tables of one study."""
    names = list(study.sweeps([]))
    first = ms.open_results(runs / names[0])
    n, clean = first.sizes["fact_id"], float(first["clean_score"].mean())
    yield f"{n:,} known facts; mean probability of the answer {clean:.3f} clean; windows of {study.window} layers.\n"
    yield "| what is cut | source | facts | layers | change in % (95 %) | q | facts | beside as many random others (95 %) | q |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in names:
        results = ms.open_results(runs / name)
        flow = mean_flow(results)
        for source in flow["source"].values.tolist():
            cut = bool(
                flow["n"].sel(source=source).max()
            )  # the convolution never gives a token itself
            if cut and not source.startswith("random:"):
                yield row(name.removeprefix(f"{study.name}-"), source, flow, results)


def row(what: str, source: str, flow: xr.Dataset, results: xr.Dataset) -> str:
    """The window of one source with the largest mean fall, and the same window beside its control."""
    cells = flow.sel(source=source)
    cell = cells.isel(start=int(np.nanargmin(cells["effect"].values)))
    layers = f"{int(cell['first_layer'])} to {int(cell['last_layer'])}"
    shown = f"| {what} | {source} | {int(cell['n'])} | {layers} | {interval(cell, digits=1)} | {float(cell['q']):.2g} |"
    sources = flow["source"].values.tolist()
    own = f"random:{source}"
    control = own if own in sources else ONE_OTHER
    if control not in sources:
        return f"{shown} | | |"
    beside = source_contrast(results, source, control).isel(source=0).sel(start=cell["start"])
    return f"{shown} {int(beside['n'])} | {interval(beside, digits=1)} | {float(beside['q']):.2g} |"


def ledger_table(mean: xr.Dataset) -> Iterator[str]:
    """For each source and term the layer where the term is largest in size, and the same cell beside its control."""
    yield f"{mean.attrs['facts']} facts, nats of the answer's log-probability.\n"
    yield "| source | term | layer | n | mean (95 %) | q | n | beside as many random others (95 %) | q |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for source in (name for name in mean["source"].values.tolist() if ":" not in name):
        for term in mean["term"].values.tolist():
            line = mean.sel(term=term)
            at = int(np.nanargmax(np.abs(line["effect"].sel(source=source).values)))
            cell = line.isel(layer=at).sel(source=source)
            effect, above = (interval(cell, before, digits=2) for before in ("", "above_"))
            yield (
                f"| {source} | {term} | {at} | {int(cell['n'])} | {effect} | {float(cell['q']):.2g} "
                f"| {int(cell['above_n'])} | {above} | {float(cell['above_q']):.2g} |"
            )


def figures(studies: list[Study], runs: Path, ledgers: dict[str, xr.Dataset], folder: Path) -> None:
    """Curves of each main sweep, routes side by side, slow against fast features, and the mean ledgers."""
    folder.mkdir(parents=True, exist_ok=True)
    for study in studies:
        opened = {name: ms.open_results(runs / name) for name in study.sweeps([])}
        first = next(iter(opened))
        path = folder / f"findings-flow-{study.name}.png"
        drawn = mean_flow(opened[first].assign_attrs(model=study.name)).sel(source=list(DRAWN))
        path.write_bytes(knockout_png(drawn, 110))
        if not study.mamba:
            continue
        for what, parts in (("routes", ("scan", "conv", "both")), ("features", FEATURES)):
            chosen = [
                opened[f"{study.name}-{part}"].sel(source=["subject", "random:subject"])
                for part in parts
            ]
            names = [part if what == "routes" else part.replace("_", ", ") for part in parts]
            flows = model_flows(chosen, quantity="change", names=names)
            figure = models_figure(*flows, apart="what is cut")
            figure.savefig(folder / f"findings-flow-{study.name}-{what}.png", dpi=110)
        path = folder / f"findings-ledger-{study.name}.png"
        path.write_bytes(mean_ledger_png(ledgers[study.name]))


if __name__ == "__main__":
    main()
