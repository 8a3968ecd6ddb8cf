"""Options as a user gives them, checked by a pydantic configuration: what is wrong with them is one sentence."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mambascope.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)


def checked(config: type[Config], /, **options: Any) -> Config:
    """The configuration with these options; ConfigError says which one is wrong."""
    try:
        return config(**options)
    except ValidationError as error:
        raise ConfigError(wrong_option(error)) from error


def wrong_option(error: ValidationError, prefix: str = "") -> str:
    """The first mistake that pydantic found: `prefix` and the option's dotted name, what is expected, and what was given.

    Options that do not go together have no name. What was given is left out where it is all the options around the mistake.
    """
    first = error.errors()[0]
    said, given = first["msg"].removeprefix("Value error, "), first["input"]
    if not first["loc"]:
        return said
    name = prefix + ".".join(map(str, first["loc"]))
    return f"{name}: {said}" + ("" if isinstance(given, dict) else f", but {given!r} was given")
