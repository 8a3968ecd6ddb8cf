"""Which sites a trace exchanges and severs, and in how many layers together."""

from mambascope.errors import ConfigError, SiteError
from mambascope.methods.tracing.config import TracingConfig
from mambascope.models.language_model import LanguageModel

RESIDUAL = ("resid_pre", "resid_mid", "resid_post")
SEVERED = {"scan": "scan_out", "conv": "u", "gate": "gate", "mixer": "mixer_out"}


def check_sites(model: LanguageModel, config: TracingConfig) -> None:
    """SiteError if what is exchanged or severed is no site of the layers, ConfigError if it is both."""
    for name in config.sites:
        window_size(model, name, config.window)
    severed_sites(model, config)


def severed_sites(model: LanguageModel, config: TracingConfig) -> tuple[str, ...]:
    """The sites that stay as they are; SiteError if one is none of this model, ConfigError if it is also exchanged."""
    severed = tuple(SEVERED.get(name, name) for name in config.sever)
    layered = _layered(model)
    for asked, name in zip(config.sever, severed, strict=True):
        if name not in layered:
            routes = ", ".join(route for route, site in SEVERED.items() if site in layered)
            raise SiteError(
                f"cannot sever {asked!r}; this model has the routes {routes}, and the sites {', '.join(layered)}"
            )
        if name in config.sites:
            raise ConfigError(f"site {name!r} cannot be exchanged and severed at once")
    return severed


def window_of(layer: int, window: int, n_layers: int, align: str) -> range:
    """`window` layers centred on this one (ROME: from layer - window // 2 on) or beginning with it, cut off at the ends."""
    first = layer - window // 2 if align == "centred" else layer
    return range(max(0, first), min(n_layers, first + window))


def window_size(model: LanguageModel, name: str, window: int | None) -> int:
    """The number of layers exchanged together; SiteError if this is no site of the layers."""
    layered = _layered(model)
    if name not in layered:
        raise SiteError(f"cannot trace site {name!r}; this model has: {', '.join(layered)}")
    if window is not None:
        return window
    return 1 if name in RESIDUAL else max(1, model.config.n_layers // 5)


def _layered(model: LanguageModel) -> list[str]:
    """The names of the sites that the layers have."""
    return [name for name, site in model.sites.items() if site.layered]
