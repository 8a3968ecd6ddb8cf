"""A site: a named intermediate tensor with one value per token, e.g. `state` with axes (E, N)."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

from mambascope.errors import SiteError


@dataclass(frozen=True)
class Site:
    """One site of an architecture.

    `axes` and `shape` describe one token's value; a size of None varies with the run (a pattern's keys).
    `layered` sites exist once per layer, the others once per model.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    layered: bool = True


def shared_sites(d_model: int, vocab_size: int) -> list[Site]:
    """The sites that every architecture has."""
    width = (("D",), (d_model,))
    return [
        Site("embed", *width, layered=False),
        Site("resid_pre", *width),
        Site("norm", *width),
        Site("mixer_out", *width),
        Site("resid_post", *width),
        Site("final_norm", *width, layered=False),
        Site("logits", ("V",), (vocab_size,), layered=False),
    ]


def find_site(sites: dict[str, Site], name: str) -> Site:
    """The site of that name; SiteError names the choices."""
    if name not in sites:
        raise SiteError(f"unknown site {name!r}; this model has: {', '.join(sites)}")
    return sites[name]


def resolve_layers(
    site: Site, layers: int | list[int] | tuple[int, ...] | range | None, n_layers: int
) -> list[int | None]:
    """The layers meant, as indices from 0; [None] for a site that exists once per model."""
    if not site.layered:
        if layers is not None:
            raise SiteError(f"site {site.name!r} exists once per model, so layers must be left out")
        return [None]
    return [*layers_in_range(layers, n_layers, f"site {site.name!r}")]


def layers_in_range(layers: int | Sequence[int] | None, n_layers: int, what: str) -> list[int]:
    """The layers meant, as indices from 0, None being all; SiteError if they are none of the model's."""
    if layers is None:
        return list(range(n_layers))
    try:
        wanted = [index(each) for each in ([layers] if isinstance(layers, int) else layers)]
    except TypeError as error:
        raise SiteError(
            f"layers of {what} must be a whole number or a list of them, not {layers!r}"
        ) from error
    if not wanted:
        raise SiteError(f"no layer was given for {what}")
    for layer in wanted:
        if not -n_layers <= layer < n_layers:
            raise SiteError(
                f"layer {layer} is out of range: the model has layers 0 to {n_layers - 1}"
            )
    return [layer % n_layers for layer in wanted]
