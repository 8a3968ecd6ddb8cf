"""Records as others publish them, of which some may be broken."""

from typing import Any


class BrokenRecord(Exception):
    """One record that does not hold what it should; the message names the field. Never leaves this package."""


def text(record: Any, *path: str) -> str:
    """The text at `path` in a record; BrokenRecord if there is none."""
    name, value = ".".join(path), record
    for key in path:
        if not isinstance(value, dict):
            raise BrokenRecord(
                f"field {name!r} is missing: what should hold it is {type(value).__name__}"
            )
        if value.get(key) is None:
            raise BrokenRecord(
                f"field {name!r} is missing; there are: {', '.join(map(str, value))}"
            )
        value = value[key]
    if not isinstance(value, str):
        raise BrokenRecord(f"field {name!r} must be a text, not {value!r}")
    if not value.strip():
        raise BrokenRecord(f"field {name!r} is empty")
    return value
