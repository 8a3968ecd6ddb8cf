"""What pydantic finds wrong becomes one sentence: the option's name, what is expected, what was given."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mambascope.errors import ConfigError
from mambascope.options import checked, wrong_option


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=1)
    least: int = 0
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = ()

    @model_validator(mode="after")
    def _belongs_together(self) -> "Outer":
        if self.least > self.steps:
            raise ValueError("least must not exceed steps")
        return self


def test_right_options_give_the_configuration():
    assert checked(Outer, steps=3, least=2) == Outer(steps=3, least=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps: Input should be greater than or equal to 1, but 0 was given"),
        ({"steps": 1, "step": 2}, "step: Extra inputs are not permitted, but 2 was given"),
        ({}, "steps: Field required"),
        ({"steps": 1, "inner": {"sise": 4}}, "inner.sise: Extra inputs are not permitted, but 4"),
        (
            {"steps": 1, "parts": [{}, {"size": "big"}]},
            "parts.1.size: Input should be a valid integer, unable to parse string as an integer, but 'big' was given",
        ),
        ({"steps": 1, "least": 2}, "least must not exceed steps"),
        ({"steps": -1, "least": "x"}, "steps: Input should be"),
    ],
)
def test_each_mistake_is_one_sentence(options: dict, sentence: str):
    with pytest.raises(ConfigError) as caught:
        checked(Outer, **options)
    said = str(caught.value)
    assert said.startswith(sentence)
    assert "\n" not in said
    assert "{" not in said


def test_the_prefix_stands_before_a_name_and_not_before_what_has_none():
    with pytest.raises(ValidationError) as named:
        Outer(steps=0)
    with pytest.raises(ValidationError) as together:
        Outer(steps=1, least=2)
    assert wrong_option(named.value, "--").startswith("--steps: ")
    assert wrong_option(together.value, "--") == "least must not exceed steps"
