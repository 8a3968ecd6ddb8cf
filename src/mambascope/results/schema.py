"""What a result must be, so that it can be written as a table and read back equal.

A dataset with at least one variable, no empty dim, values that a Parquet column holds, attributes that JSON holds, and
the attribute `method`: the name of what made it. A method's own demands are listed in a `Schema`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from mambascope.errors import OutputError

KINDS = "biufUM"  # numpy's letters: bool, integers, floats, strings, datetimes
CONTROL = "random:"  # before a source's name: as many random other positions, its matched control
ROLES = ("before", "subject_first", "subject_middle", "subject_last", "after", "last")


@dataclass(frozen=True)
class Schema:
    """What the results of one method have: dims by variable and by coordinate, and attributes."""

    method: str
    variables: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple[str, ...]]
    attrs: tuple[str, ...]


TRACE = Schema(
    method="trace",
    variables={"score": ("layer", "position")},
    coords={name: (dim,) for name, dim in (("layer", "layer"), ("position", "position"))}
    | {"token": ("position",), "role": ("position",)},
    attrs=("prompt", "answer", "clean_score", "corrupted_score", "site", "direction", "model"),
)

SWEEP = Schema(
    method="sweep.trace",
    variables={"score": ("fact_id", "site", "layer", "position")},
    coords={name: (name,) for name in ("fact_id", "site", "layer", "position")}
    | dict.fromkeys(("token", "role"), ("fact_id", "position"))
    | dict.fromkeys(("prompt", "clean_score", "corrupted_score", "length"), ("fact_id",)),
    attrs=("model", "weights", "config", "direction", "window", "seed", "versions"),
)

EFFECT = Schema(
    method="aggregate.trace",
    variables=dict.fromkeys(("effect", "low", "high", "n", "p", "q"), ("layer", "role")),
    coords={"layer": ("layer",), "role": ("role",)},
    attrs=("statistic", "quantity", "title", "unit", "confidence", "facts"),
)

KNOCKOUT = Schema(
    method="knockout",
    variables=dict.fromkeys(("score", "change", "hit"), ("source", "start")),
    coords={"source": ("source",)}
    | dict.fromkeys(("start", "first_layer", "last_layer"), ("start",)),
    attrs=("prompt", "answer", "clean_score", "target", "window", "route", "mode", "model"),
)

KNOCKOUT_SWEEP = Schema(
    method="sweep.knockout",
    variables=dict.fromkeys(("score", "change", "hit"), ("fact_id", "source", "start")),
    coords={"source": ("source",)}
    | dict.fromkeys(("start", "first_layer", "last_layer"), ("start",))
    | dict.fromkeys(("fact_id", "prompt", "clean_score", "clean_rank"), ("fact_id",)),
    attrs=("model", "weights", "config", "target", "window", "route", "mode", "seed", "versions"),
)

FLOW = Schema(
    method="aggregate.knockout",
    variables=dict.fromkeys(("effect", "low", "high", "n", "p", "q"), ("source", "start")),
    coords={"source": ("source",)}
    | dict.fromkeys(("start", "first_layer", "last_layer"), ("start",)),
    attrs=("statistic", "quantity", "title", "unit", "confidence", "facts", "clean"),
)


# What an evaluation says of a question, each 0 to 1 but the log-probability.
SCORES = ("exact", "f1", "contained", "first_token", "reciprocal_rank", "logprob")

EVALUATION_SWEEP = Schema(
    method="sweep.evaluate",
    variables={"value": ("fact_id", "score")},
    coords={"score": ("score",)}
    | dict.fromkeys(
        ("fact_id", "prompt", "category", "dataset", "prediction", "rank"), ("fact_id",)
    ),
    attrs=("model", "weights", "config", "max_new_tokens", "changes", "versions"),
)

CAPABILITY = Schema(
    method="aggregate.evaluate",
    variables=dict.fromkeys(("mean", "low", "high", "n"), ("category", "score")),
    coords={"category": ("category",), "score": ("score",)},
    attrs=("model", "changed", "confidence", "questions"),
)


def with_sources(result: xr.Dataset) -> xr.Dataset:
    """A knockout with the dim `source`, also if it is of one source, or of every position (then named by its number)."""
    if "position" in result.dims:
        named = result.rename(position="source")
        return named.assign_coords(source=[str(place) for place in result["position"].values])
    if "source" in result.dims:
        return result
    front = ["fact_id"] if "fact_id" in result.dims else []
    named = result.expand_dims(source=[result.attrs.get("source", "source")])
    return named.transpose(*front, "source", "start")


ATTENTION = Schema(
    method="attention",
    variables={"attention": ("layer", "target", "source")},
    coords={name: (name,) for name in ("layer", "target", "source")}
    | {"target_token": ("target",), "source_token": ("source",)},
    attrs=("prompt", "model", "architecture", "span", "reduce", "rollout"),
)

RETENTION = Schema(
    method="retention",
    variables=dict.fromkeys(("surviving", "written", "share", "half_life"), ("layer", "position"))
    | {"state_norm": ("layer",)},
    coords={"layer": ("layer",), "position": ("position",), "token": ("position",)},
    attrs=("prompt", "model", "architecture"),
)


def by_site(result: xr.Dataset) -> list[xr.Dataset]:
    """The traces of a result over several sites, one by one; a trace of one site is itself."""
    if "site" not in result.dims:
        return [result]
    names = result["site"].values.tolist()
    return [
        result.sel(site=name, drop=True).assign_attrs(site=name, window=window)
        for name, window in zip(names, result.attrs["window"], strict=True)
    ]


def check(result: xr.Dataset) -> None:
    """OutputError unless the result can be written and read back equal."""
    if "method" not in result.attrs:
        raise OutputError("a result must say in attrs['method'] what made it")
    if not result.data_vars:
        raise OutputError("a result must have at least one variable")
    for name, size in result.sizes.items():
        if size == 0:
            raise OutputError(f"dim {name!r} of the result is empty")
    for name, array in result.variables.items():
        _check_array(str(name), array)
        _check_json(array.attrs, f"attrs of {name!r}")
    _check_json(result.attrs, "attrs")


def conform(result: xr.Dataset, schema: Schema) -> None:
    """OutputError unless this is a result of the schema's method, with all that such a result has."""
    found = result.attrs.get("method")
    if found != schema.method:
        raise OutputError(f"this is a result of {found!r}, but one of {schema.method!r} is needed")
    for name, dims in {**schema.variables, **schema.coords}.items():
        if name not in result.variables:
            raise OutputError(f"a result of {schema.method!r} has {name!r}, but this one does not")
        if result[name].dims != dims:
            raise OutputError(f"{name!r} has dims {result[name].dims}, but {dims} are needed")
    missing = [name for name in schema.attrs if name not in result.attrs]
    if missing:
        raise OutputError(f"the result lacks attrs: {', '.join(missing)}")


def _check_array(name: str, array: xr.Variable) -> None:
    strings = array.dtype.kind == "O" and all(
        value is None or isinstance(value, str) for value in array.values.flat
    )
    if not (array.dtype.kind in KINDS and array.dtype.isnative) and not strings:
        raise OutputError(f"{name!r} has dtype {array.dtype}, which a table column cannot hold")


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise OutputError(f"{where} has the key {key!r}; keys must be strings")
            _check_json(item, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for item in value:
            _check_json(item, where)
    elif not (value is None or isinstance(value, str | int | float)):
        raise OutputError(
            f"{where} holds a {type(value).__name__}, which JSON cannot; use numbers, strings, lists or dicts"
        )
