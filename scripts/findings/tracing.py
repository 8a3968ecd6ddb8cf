"""The sweeps behind findings about the bundled models, with their tables and figures.

    python scripts/findings/tracing.py runs [--workers 2] [--limit N] [--known-1000 FILE --smollm2 FILE] [--figures docs/images]

Runs every sweep into a folder of its own under `runs` (one that is finished costs nothing, one that was interrupted goes on),
then prints the tables in Markdown and draws the figures: all known facts, or `--limit` of them. With ROME's known facts and
a SmolLM2-135M in GGUF, that model is traced too.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from _shared import interval, run

import mambascope as ms
from mambascope.methods.tracing.aggregate import (
    mean_effect,
    paired_difference,
    random_control,
    route_share,
)
from mambascope.plots.effect_files import png
from mambascope.plots.effect_heatmap import effect_heatmap
from mambascope.plots.effect_lines import effect_lines

SAMPLES = 3  # of noise for each fact beside the main sweep: facts differ more than samples do
ROLES = ("subject_last", "last")
SITES = {"mamba": ("mixer_out", "state", "conv_carry"), "transformer": ("mixer_out", "mlp_out")}
ROUTES = {"mamba": ("scan", "conv", "gate", "mixer"), "transformer": ("mixer", "mlp_out")}


@dataclass(frozen=True)
class Study:
    """One model on one fact set: all that it knows, or `most` of it."""

    name: str
    model: str
    facts: str
    kind: str
    most: int | None = None

    @property
    def sweeps(self) -> dict[str, list[str]]:
        """The options of each sweep, by the name of its folder."""
        limit = [] if self.most is None else ["--limit", str(self.most)]
        fewer = [*limit, "--samples", str(SAMPLES)]
        resid = ["--site", "resid_post", *fewer]
        return {
            self.name: ["--site", "resid_post", *limit],
            f"{self.name}-whole": resid,
            f"{self.name}-sites": ["--site", *SITES[self.kind], *fewer],
            f"{self.name}-corrupt": [*resid, "--direction", "corrupt"],
            f"{self.name}-swap": [*resid, "--corruption", "swap"],
            **{f"{self.name}-without-{r}": [*resid, "--sever", r] for r in ROUTES[self.kind]},
        }

    def command(self, options: list[str]) -> list[str]:
        """The arguments of `mambascope` for one sweep."""
        common = ["--facts", self.facts, "--only-known", "--model", self.model]
        return ["sweep", "trace", *common, *options]


ATLAS = (
    Study("atlas-mamba1", "atlas-mamba1", "bundled", "mamba"),
    Study("atlas-mamba2", "atlas-mamba2", "bundled", "mamba"),
    Study("atlas-transformer", "atlas-transformer", "bundled", "transformer"),
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
    studies = [replace(study, most=chosen.limit) for study in ATLAS]
    if chosen.smollm2 and chosen.known_1000:
        facts, model = str(chosen.known_1000), str(chosen.smollm2)
        studies.append(Study("smollm2", model, facts, "transformer", chosen.limit))
    for study in studies:
        for name, options in study.sweeps.items():
            run([*study.command(options), "--out", str(chosen.runs / name)], chosen.workers)
    for study in studies:
        print(f"\n### {study.name}\n", *tables(study, chosen.runs), sep="\n")
    print("\n### Side by side\n", *differences(chosen.runs), sep="\n")
    if chosen.figures:
        figures(studies, chosen.runs, chosen.figures)


def tables(study: Study, runs: Path) -> Iterator[str]:
    """The tables of one study."""
    whole = ms.open_results(runs / study.name)
    n, clean, corrupted = whole.sizes["fact_id"], whole["clean_score"], whole["corrupted_score"]
    yield (
        f"{n:,} known facts; mean probability of the answer {float(clean.mean()):.3f} clean, "
        f"{float(corrupted.mean()):.3f} corrupted.\n"
    )
    yield from by_layer(mean_effect(whole))
    yield from peaks(random_control(whole, roles=ROLES))
    yield "\nInside the layers:\n"
    yield from peaks(random_control(ms.open_results(runs / f"{study.name}-sites"), roles=ROLES))
    severed = {r: ms.open_results(runs / f"{study.name}-without-{r}") for r in ROUTES[study.kind]}
    yield from shares(route_share(ms.open_results(runs / f"{study.name}-whole"), severed))
    for name, words in (("corrupt", "corrupting"), ("swap", "another subject swapped in")):
        found = random_control(ms.open_results(runs / f"{study.name}-{name}"), roles=ROLES)
        yield f"\n{words}:\n"
        yield from peaks(found)


def by_layer(effects: xr.Dataset) -> Iterator[str]:
    """The mean effect of the residual by layer, for the subject's last token and the last token."""
    yield "| layer | " + " | ".join(f"{role} (95 %)" for role in ROLES) + " |"
    yield "|---|" + "---|" * len(ROLES)
    for layer in effects["layer"].values.tolist():
        cells = [effects.sel(site="resid_post", layer=layer, role=role) for role in ROLES]
        yield f"| {layer} | " + " | ".join(interval(cell) for cell in cells) + " |"


def peaks(control: xr.Dataset) -> Iterator[str]:
    """For each site and role the layer where role minus control is largest, with both sides."""
    yield "\n| site | role | n | best layer | effect (95 %) | control (95 %) | difference (95 %) | q |"
    yield "|---|---|---|---|---|---|---|---|"
    for site in control["site"].values.tolist():
        for role in control["role"].values.tolist():
            cells = control.sel(site=site, role=role)
            cell = cells.isel(layer=int(np.nanargmax(cells["effect"].values)))
            yield (
                f"| {site} | {role} | {int(cell['n'])} | {int(cell['layer'])} | {interval(cell, 'role_')} "
                f"| {interval(cell, 'control_')} | {interval(cell)} | {float(cell['q']):.2g} |"
            )


def shares(found: xr.Dataset) -> Iterator[str]:
    """The share of the effect that each route carries, by layer."""
    routes = found["route"].values.tolist()
    for role in ROLES:
        yield f"\nLost of the effect at {role} (n {int(found['n'].sel(role=role).max())}):\n"
        yield "| layer | " + " | ".join(f"without {r} (95 %)" for r in routes) + " |"
        yield "|---|" + "---|" * len(routes)
        for layer in found["layer"].values.tolist():
            cells = found.sel(site="resid_post", layer=layer, role=role)
            shown = [percent(cells.sel(route=route)) for route in routes]
            if any(shown):
                yield f"| {layer} | " + " | ".join(shown) + " |"


def differences(runs: Path) -> Iterator[str]:
    """The residual's effect in each pair of atlas models on the facts that both know, where they differ most."""
    yield "| models | role | n | layer | difference (95 %) | q |"
    yield "|---|---|---|---|---|---|"
    opened = {s.name: ms.open_results(runs / s.name) for s in ATLAS}
    names = list(opened)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            found = paired_difference(opened[first], opened[second], roles=ROLES)
            for role in ROLES:
                cells = found.sel(role=role).isel(site=0)
                cell = cells.isel(layer=int(np.nanargmax(np.abs(cells["effect"].values))))
                yield (
                    f"| {first} minus {second} | {role} | {int(cell['n'])} | {int(cell['layer'])} "
                    f"| {interval(cell)} | {float(cell['q']):.2g} |"
                )


def figures(studies: list[Study], runs: Path, folder: Path) -> None:
    """Average heatmaps of the residual side by side, and for each Mamba what state and convolution carry."""
    effects = {
        s.name: mean_effect(ms.open_results(runs / s.name).assign_attrs(model=s.name))
        for s in studies
    }
    resid = [effects[s.name].sel(site="resid_post") for s in ATLAS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "findings-resid.png").write_bytes(png(effect_heatmap(*resid), 110))
    for study in studies:
        swept = ms.open_results(runs / f"{study.name}-sites")
        inside = mean_effect(swept.assign_attrs(model=study.name))
        panels = [inside.sel(site=site) for site in SITES[study.kind]]
        path = folder / f"findings-{study.name}-routes.png"
        path.write_bytes(png(effect_heatmap(*panels), 110))
        path = folder / f"findings-{study.name}-lines.png"
        path.write_bytes(png(effect_lines(effects[study.name].sel(site="resid_post")), 110))


def percent(cell: xr.Dataset) -> str:
    """A share with its interval, nothing where it is not defined."""
    share, low, high = (100 * float(cell[part]) for part in ("share", "share_low", "share_high"))
    return f"{share:.0f} % ({low:.0f} to {high:.0f})" if np.isfinite(share) else ""


if __name__ == "__main__":
    main()
