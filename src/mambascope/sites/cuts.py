"""A cut: a removed edge between tokens. What the targets read from the sources is taken away, by one route through a mixer.

A Mamba layer's scan output is y_t = sum over s <= t of alpha[t, s] u_s + D u_t, with
alpha[t, s] = C_t (product of exp(dt_r A) over s < r <= t) dt_s B_s. A cut changes what a target t reads, and only that: the
state that goes on, and what other tokens read from the sources, stay (Mamba Knockout: Endy et al. 2025, arXiv 2505.24244).

    route   in a target's view
    scan    alpha[t, s] = 0
    conv    the convolution's taps on s are gone from u (Mamba-1: and dt, B, C; Mamba-2: and B, C) of s+1 .. s+K-1,
            from where x_s reaches far targets through the scan of the same layer
    both    the taps and s's own write are gone
    attention   the weight of key s for query t is 0
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mambascope.errors import SiteError
from mambascope.sites.positions import Index, Places, Positions, places_of
from mambascope.sites.site import Site, layers_in_range

MODES = {
    "scan": ("zero", "no_decay", "mean"),
    "conv": ("zero", "mean"),
    "both": ("zero", "no_decay", "mean"),
    "attention": ("zero", "mask"),
}
Features = Sequence[int] | Mapping[int, Sequence[int]] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """One removed edge.

    sources, targets: positions, as in `Edit`; a source behind a target is nothing that the target reads
    layers:     a layer or several; None is every layer
    rows:       the prompts of the batch that it concerns; None is all of them
    route:      "scan", "conv" or "both" for a Mamba, "attention" for a transformer
    mode:       zero: the source's part is gone. no_decay (scan, both): the source neither writes nor decays the state. mean: the
                source's part is a mean. mask (attention): gone before the softmax, so that the others' weights grow
    features:   the output channels (Mamba-1), heads (Mamba-2) or attention heads whose readout is cut, the same in every
                layer or by layer; None is all
    write_mean: by layer, mode mean: what a source writes into the state, (E, N) or (H, P, N)
    conv_mean:  by layer, mode mean of conv and both: a source's input to the convolution, (conv width,). For both without
                a `write_mean` the source's own write follows from it too (Sharma et al. 2024, arXiv 2404.03646)
    """

    sources: Positions
    targets: Positions
    layers: int | Sequence[int] | None = None
    rows: Sequence[int] | Index | None = None
    route: str = "scan"
    mode: str = "zero"
    features: Features = None
    write_mean: Mapping[int, Tensor] | None = None
    conv_mean: Mapping[int, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.route not in MODES:
            raise SiteError(f"unknown route {self.route!r}; a cut has: {', '.join(MODES)}")
        if self.mode not in MODES[self.route]:
            raise SiteError(
                f"route {self.route!r} has no mode {self.mode!r}; it has: {', '.join(MODES[self.route])}"
            )
        wanted = self._means_wanted()
        for name in ("write_mean", "conv_mean"):
            if getattr(self, name) is not None and name not in wanted:
                raise SiteError(f"route {self.route!r} in mode {self.mode!r} takes no {name}")
        if wanted and getattr(self, wanted[0]) is None:
            raise SiteError(f"route {self.route!r} in mode 'mean' needs a {wanted[0]}")

    @property
    def own_write(self) -> bool:
        """Whether the source's own write is changed, beside or instead of its convolution taps."""
        return self.route in ("scan", "both")

    @property
    def taps(self) -> bool:
        """Whether the convolution's taps on the source are changed."""
        return self.route in ("conv", "both")

    @property
    def recomputes_sources(self) -> bool:
        """Whether a source's own write follows from its mean convolution input."""
        return self.route == "both" and self.mode == "mean" and self.write_mean is None

    @property
    def key(self) -> tuple[object, ...]:
        """The same for cuts that differ in nothing but their layers and share what they hold."""
        held = (self.sources, self.targets, self.rows, self.features)
        means = (self.write_mean, self.conv_mean)
        return (self.route, self.mode, *(id(each) for each in (*held, *means)))

    def layers_among(self, n_layers: int) -> list[int]:
        """The layers meant, as indices from 0; SiteError if one is out of range."""
        return layers_in_range(self.layers, n_layers, "the cut")

    def source_places(self, lengths: Index) -> Places:
        """The sources in prompts of these lengths."""
        return places_of(self.sources, self.rows, lengths)

    def target_places(self, lengths: Index) -> Places:
        """The targets in prompts of these lengths."""
        return places_of(self.targets, self.rows, lengths)

    def features_at(self, layer: int) -> Sequence[int] | None:
        """The features of one layer; None for all."""
        if not isinstance(self.features, Mapping):
            return self.features
        if layer not in self.features:
            raise SiteError(f"the cut names no features for layer {layer}")
        return self.features[layer]

    def check(self, sites: dict[str, Site], layer: int) -> None:
        """SiteError unless a model with these sites has this route, features and means."""
        routes = ["attention"] if "pattern" in sites else ["scan", "conv", "both"]
        if self.route not in routes:
            raise SiteError(f"this model has no route {self.route!r}; it has: {', '.join(routes)}")
        size = sites["pattern" if self.route == "attention" else "scan_out"].shape[0]
        features = self.features_at(layer)
        if features is not None:
            outside = [f for f in features if not 0 <= f < (size or 0)]
            if outside or not len(features):
                what = f"feature {outside[0]} is out of range" if outside else "no feature is given"
                raise SiteError(f"{what}: layer {layer} has features 0 to {(size or 0) - 1}")
        self._check_mean("write_mean", sites.get("state"), layer)
        self._check_mean("conv_mean", sites.get("conv_in"), layer)

    def _check_mean(self, name: str, site: Site | None, layer: int) -> None:
        means: Mapping[int, Tensor] | None = getattr(self, name)
        if means is None or site is None:
            return
        if layer not in means:
            raise SiteError(f"{name} has no entry for layer {layer}")
        if tuple(means[layer].shape) != site.shape:
            raise SiteError(
                f"{name} of layer {layer} has shape {tuple(means[layer].shape)}, not {site.shape}"
            )

    def _means_wanted(self) -> tuple[str, ...]:
        if self.mode != "mean":
            return ()
        return {"scan": ("write_mean",), "conv": ("conv_mean",)}.get(
            self.route, ("conv_mean", "write_mean")
        )
