"""Records as others publish them, of which some may be broken."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

NAMES = 12  # of an object's fields that are named in a message


class BrokenRecord(Exception):
    """One record that does not hold what it should; the message names the field. Never leaves this package."""


def at(record: Any, *path: str) -> Any:
    """What is at `path` in a record; BrokenRecord if there is nothing."""
    name, value = ".".join(path), record
    for key in path:
        if not isinstance(value, dict):
            raise BrokenRecord(
                f"field {name!r} is missing: what should hold it is {type(value).__name__}"
            )
        if value.get(key) is None:
            raise BrokenRecord(f"field {name!r} is missing; there are: {_some(value)}")
        value = value[key]
    return value


def text(record: Any, *path: str) -> str:
    """The text at `path` in a record; BrokenRecord if there is none."""
    name, value = ".".join(path), at(record, *path)
    if not isinstance(value, str):
        raise BrokenRecord(f"field {name!r} must be a text, not {value!r}")
    if not value.strip():
        raise BrokenRecord(f"field {name!r} is empty")
    return value


def listed(record: Any, *path: str) -> list[Any]:
    """The list at `path` in a record; BrokenRecord if there is none."""
    value = at(record, *path)
    if not isinstance(value, list):
        raise BrokenRecord(f"field {'.'.join(path)!r} must be a list, not {short(value)}")
    return value


def texts(record: Any, *path: str) -> list[str]:
    """The texts in the list at `path`, without those that are blank; BrokenRecord if something else is in it."""
    found = listed(record, *path)
    for value in found:
        if not isinstance(value, str):
            raise BrokenRecord(f"field {'.'.join(path)!r} must hold texts, not {short(value)}")
    return [value for value in found if value.strip()]


def objects(record: Any, *path: str, part: slice = slice(None)) -> list[dict[str, Any]]:
    """The objects in the list at `path`, or in a part of it; it may also be one object of equally long lists, as on the hub."""
    name, value = ".".join(path), at(record, *path)
    if isinstance(value, dict):
        columns = [listed(record, *path, key) for key in value]
        if len({len(column) for column in columns}) > 1:
            raise BrokenRecord(f"field {name!r} must hold lists of one length")
        rows = zip(*(column[part] for column in columns), strict=True)
        return [dict(zip(value, row, strict=True)) for row in rows]
    found = listed(record, *path)[part]
    for item in found:
        if not isinstance(item, dict):
            raise BrokenRecord(f"field {name!r} must hold objects, not {short(item)}")
    return found


def nested(
    record: Any, field: str, *inner: str, name: str = "", above: dict[str, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """What lies at the end of lists within lists: (its place, it with the fields of all that it lies in).

    ("data[0].qas[2]", {...}) for fields data, qas. Where there is no such list, (the place, the BrokenRecord that says so).
    """
    try:
        parts = listed(record, field)
    except BrokenRecord as error:
        yield name, error
        return
    around = {**(above or {}), **record}
    for number, part in enumerate(parts):
        place = f"{name}{'.' if name else ''}{field}[{number}]"
        if inner:
            yield from nested(part, *inner, name=place, above=around)
        elif isinstance(part, dict):
            yield place, {**around, **part}
        else:
            yield place, BrokenRecord(f"it must be an object, not {short(part)}")


def _some(names: dict[str, Any]) -> str:
    """The first names of an object, of which some have one for each passage."""
    more = f", and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(map(str, islice(names, NAMES))) + more


def short(value: Any) -> str:
    """A value as it is shown in a message, which is one line and not a page."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
