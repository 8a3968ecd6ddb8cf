"""The tests' own type checks see wrong types and shapes: in arguments, values and fields, at first and later."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import mambascope.models.kernels.dispatch as dispatch
from tests.type_checks import FIRST, LATER, checked, count_anew

if TYPE_CHECKING:
    from nowhere import Nothing  # pyright: ignore[reportMissingImports]


def times(x: Float[Tensor, "T E"], y: Float[Tensor, "T E"], rows: int = -1) -> Float[Tensor, " E"]:
    return (x * y)[:rows].sum(1) if rows >= 0 else (x * y).sum(0)


@dataclass
class Pair:
    one: Float[Tensor, " T"]
    other: Float[Tensor, " T"]


@pytest.fixture
def strict():
    return checked(times, typechecker=None)


def test_sizes_of_one_name_must_agree(strict):
    assert strict(torch.ones(3, 2), torch.ones(3, 2)).tolist() == [3, 3]
    with pytest.raises(Exception, match="y="):
        strict(torch.ones(3, 2), torch.ones(1, 2))
    with pytest.raises(Exception, match="return"):
        strict(torch.ones(3, 2), torch.ones(3, 2), 3)
    with pytest.raises(Exception, match="rows="):
        strict(torch.ones(3, 2), torch.ones(3, 2), "3")


def test_a_size_binds_within_one_call_only(strict):
    assert strict(torch.ones(3, 2), torch.ones(3, 2)).shape == (2,)
    assert strict(torch.ones(4, 5), torch.ones(4, 5)).shape == (5,)


def test_later_calls_are_checked_now_and_then_and_the_first_of_each_test(strict):
    wrong = (torch.ones(3, 2), torch.ones(1, 2))
    seen = []
    for number in range(1, FIRST + 2 * LATER + 1):
        try:
            strict(*wrong)
        except Exception:
            seen.append(number)
    assert seen == [*range(1, FIRST + 1), LATER, 2 * LATER]
    count_anew()
    with pytest.raises(Exception, match="y="):
        strict(*wrong)


def test_fields_are_checked_together():
    strict = checked(Pair, typechecker=None)
    assert strict(torch.ones(2), torch.ones(2)).one.shape == (2,)
    with pytest.raises(Exception, match="other="):
        strict(torch.ones(2), torch.ones(3))


def test_what_cannot_be_resolved_is_not_checked_and_stays_as_it_is_written():
    def told(what: "Nothing", count: int) -> int:
        return count

    strict = checked(told, typechecker=None)
    assert strict("anything", 3) == 3
    assert strict.__annotations__ == {"what": "Nothing", "count": int, "return": int}
    with pytest.raises(Exception, match="count="):
        strict("anything", "3")


def test_the_package_is_imported_with_its_checks():
    weight = torch.ones(3)
    with pytest.raises(Exception, match="violates type hint"):
        dispatch.rms_norm(torch.ones(2, 2, 2, 2), weight, "small")
