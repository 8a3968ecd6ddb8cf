"""Edits and cuts as JSON: {"edits": [{"site": "mixer_out", "op": "scale", "layers": [3], "value": 0.5}], "cuts": [...]}.

The fields are those of `Edit` and `Cut` (sites/), as far as JSON can say them. A value is a number, or nested lists of numbers
that broadcast against (rows, positions, *axes of the site).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mambascope.errors import DataError
from mambascope.options import wrong_option

if TYPE_CHECKING:
    from mambascope.sites import Cut, Edit

Whole = int | tuple[int, ...] | None
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WrittenEdit(BaseModel):
    """An edit of every question's prompt; see `Edit`."""

    model_config = STRICT

    site: str
    op: Literal["replace", "add", "scale", "zero"] = "replace"
    layers: Whole = None
    positions: Whole = None
    units: Whole = None
    value: float | list[Any] | None = None

    def made(self) -> "Edit":
        """The edit; SiteError if its parts do not go together."""
        import torch

        from mambascope.sites import Edit

        value = self.value
        if isinstance(value, list):
            try:
                value = torch.tensor(value, dtype=torch.float64)
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"the value of the edit of site {self.site!r} must be a number or even lists of numbers"
                ) from error
        fields = {name: getattr(self, name) for name in ("site", "op", "layers", "positions")}
        units = list(self.units) if isinstance(self.units, tuple) else self.units
        return Edit(**fields, units=units, value=value)


class WrittenCut(BaseModel):
    """A cut in every question's prompt; see `Cut`."""

    model_config = STRICT

    sources: Whole
    targets: Whole
    layers: Whole = None
    route: str = "scan"
    mode: Literal["zero", "no_decay", "mask"] = "zero"
    features: tuple[int, ...] | None = None

    def made(self) -> "Cut":
        """The cut; SiteError if its parts do not go together."""
        from mambascope.sites import Cut

        return Cut(**{name: getattr(self, name) for name in type(self).model_fields})


class Changes(BaseModel):
    """What a model is under; nothing by default."""

    model_config = STRICT

    edits: tuple[WrittenEdit, ...] = Field(default=())
    cuts: tuple[WrittenCut, ...] = Field(default=())

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return bool(self.edits or self.cuts)

    def made(self) -> "tuple[list[Edit], list[Cut]]":
        """The edits and the cuts."""
        return [edit.made() for edit in self.edits], [cut.made() for cut in self.cuts]


def read_changes(path: str | Path) -> Changes:
    """The changes of a JSON file; DataError says what is wrong with it."""
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the edits in {path}: {error.strerror}") from error
    try:
        changes = Changes.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"{path} holds no edits as they are written: {wrong_option(error)}"
        ) from error
    if not changes.any:
        raise DataError(
            f"{path} names no edits and no cuts; such a file is {json.dumps({'edits': [EXAMPLE]})}"
        )
    return changes


EXAMPLE = {"site": "mixer_out", "op": "scale", "layers": [3], "value": 0.5}
