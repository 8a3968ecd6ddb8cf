"""The options of a knockout as they are meant for one model: its route, features and means."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from mambascope.errors import ConfigError
from mambascope.methods.knockout.config import KnockoutConfig
from mambascope.methods.knockout.features import check_features
from mambascope.methods.knockout.means import default_reference, site_means
from mambascope.methods.knockout.roles import check_role
from mambascope.models.language_model import LanguageModel
from mambascope.sites.cuts import MODES

MEANS = {"scan": ("write",), "conv": ("conv_in",), "both": ("conv_in", "write")}
"""What a mean may be taken of, by route; the first is the default."""


@dataclass(frozen=True, eq=False)
class Settings:
    """A checked configuration, and the model that it is for."""

    model: LanguageModel
    config: KnockoutConfig

    def __post_init__(self) -> None:
        for source in self.config.sources:
            check_role(source, "source", several=True)
        check_role(self.config.target, "target")
        self._check_route()
        check_features(self.model, self.config.features)
        depth = self.model.config.n_layers
        if self.config.window > depth:
            raise ConfigError(
                f"a window of {self.config.window} layers does not fit into the {depth} layers of {self.model.name}; "
                "take a smaller window"
            )

    @property
    def route(self) -> str:
        """The route that is cut."""
        own = "attention" if "pattern" in self.model.sites else "scan"
        return self.config.route or own

    @property
    def mean_of(self) -> str | None:
        """What the mean is taken of; None in the other modes."""
        if self.config.mode != "mean":
            return None
        return self.config.mean_of or MEANS[self.route][0]

    @property
    def windows(self) -> dict[int, range]:
        """The layers of each window, by its start: its first layer, or the one that it is centred on."""
        depth, window = self.model.config.n_layers, self.config.window
        if self.config.align == "left":
            return {start: range(start, start + window) for start in range(depth - window + 1)}
        firsts = {start: start - window // 2 for start in range(depth)}
        return {s: range(max(0, first), min(depth, first + window)) for s, first in firsts.items()}

    @cached_property
    def means(self) -> Mapping[str, Mapping[int, Tensor]]:
        """The means that a `Cut` takes, by its argument's name; none but in mode mean."""
        if self.mean_of is None:
            return {}
        text = default_reference() if self.config.reference is None else self.config.reference
        wanted = {"conv_mean": "conv_in", "write_mean": "write"}
        if self.route == "scan" or self.mean_of == "conv_in":
            wanted = {name: site for name, site in wanted.items() if site == self.mean_of}
        return {name: site_means(self.model, site, text) for name, site in wanted.items()}

    def _check_route(self) -> None:
        model, config = self.model, self.config
        routes = ["attention"] if "pattern" in model.sites else ["scan", "conv", "both"]
        if self.route not in routes:
            raise ConfigError(
                f"{model.name} has no route {self.route!r}; it has: {', '.join(routes)}"
            )
        if config.mode not in MODES[self.route]:
            raise ConfigError(
                f"route {self.route!r} has no mode {config.mode!r}; it has: {', '.join(MODES[self.route])}"
            )
        if self.mean_of is not None and self.mean_of not in MEANS[self.route]:
            raise ConfigError(
                f"route {self.route!r} has no mean of {self.mean_of!r}; it has: {', '.join(MEANS[self.route])}"
            )
