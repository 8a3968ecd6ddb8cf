"""Rows of a table on the Hugging Face hub, streamed by `datasets`, which is imported only here and only when asked for.

datasets reads HF_TOKEN, HF_HOME and HF_HUB_OFFLINE itself. A source that names a folder in place of a repository is read by the
same means: a copy of a repository, for a machine without a network.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mambascope.data.qa.question_set import HubTable
from mambascope.errors import DataError

HUB = "hub"
ANSWER_S = 5  # seconds that the hub has to answer in


def is_hub(source: str) -> bool:
    """True if a source names a table of the hub."""
    return source == HUB or source.startswith(f"{HUB}:")


def hub_records(source: str, default: HubTable) -> Iterator[tuple[str, str, str, Any]]:
    """(the table's name, the same without the folders of a copy, "row 3", the row) for every row.

    Raises DataError if the table cannot be had.
    """
    table = _named(source, default)
    copy = Path(table.repository)
    within = replace(table, repository=copy.name) if copy.is_dir() else table
    rows = _guarded(_streamed(table), _name(table))
    yield from (
        (_name(table), _name(within), f"row {number}", row) for number, row in enumerate(rows)
    )


def _name(table: HubTable) -> str:
    return ":".join(part for part in (table.repository, table.config, table.split) if part)


def _named(source: str, default: HubTable) -> HubTable:
    """What "hub:REPOSITORY[:CONFIG[:SPLIT]]" names; what is left out of another repository is its own default."""
    if source == HUB:
        return default
    repository, *rest = source.removeprefix(f"{HUB}:").split(":")
    if not repository or len(rest) > 2:
        raise DataError(f"{source!r} names no table; write hub:REPOSITORY[:CONFIG[:SPLIT]]")
    config, split = [*rest, "", ""][:2]
    return HubTable(repository, config or None, split or default.split)


def _streamed(table: HubTable) -> Iterator[Any]:
    from datasets import load_dataset
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # each of its retries is a warning; what came of them is the error that is told
    if not Path(table.repository).is_dir():
        _check_answers(table.repository)
    yield from load_dataset(table.repository, table.config, split=table.split, streaming=True)


def _check_answers(repository: str) -> None:
    """The hub library's error where the hub does not answer: `datasets` would ask six times first, for half a minute."""
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        return  # datasets looks for the table in its cache, and asks nobody
    with suppress(errors.HfHubHTTPError):  # an answer, which datasets gets as well and tells
        HfApi().dataset_info(repository, timeout=ANSWER_S)


def _guarded(rows: Iterator[Any], named: str) -> Iterator[Any]:
    """The rows; what datasets and its file systems raise on the way has no common base, and is all the same to a user."""
    try:
        yield from rows
    except Exception as error:
        raise DataError(
            f"the hub's table {named} could not be read ({error}); check repository, config and split, go online (with "
            "HF_HUB_OFFLINE set only the cache is read), or give a file or a folder"
        ) from error
