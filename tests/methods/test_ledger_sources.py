"""What a ledger's sources are: roles before the target, and controls of as many other positions."""

import numpy as np
import pytest

import mambascope as ms
from mambascope.data.fact_prompt import FactPrompt
from mambascope.errors import PromptError
from mambascope.interventions.prompt import read_prompt
from mambascope.methods.knockout.roles import sources_of
from mambascope.methods.ledger.config import ROLES, LedgerConfig
from mambascope.methods.ledger.many import ledger_many
from mambascope.models.planted import plant


def test_sources_are_roles_before_the_target():
    model = plant("latch", 1).model
    asked = {"prompt": "f0 s1 f1 s2 f3 f4 end", "subject": "s1 f1 s2"}

    def positions(**more):
        found = ms.ledger(model, **asked, **more)
        return dict(zip(found["source"].values, found["positions"].values, strict=True))

    expected = {
        "before": "0", "subject_first": "1", "subject_middle": "2", "subject_last": "3", "after": "4, 5",
    }  # fmt: skip
    assert positions() == expected and tuple(expected) == ROLES
    assert positions(source=["subject", "all", "2,-3"]) == {
        "subject": "1, 2, 3", "all": "0, 1, 2, 3, 4, 5", "2,-3": "2, 4",
    }  # fmt: skip
    assert positions(target=2) == {"before": "0", "subject_first": "1"}


def test_a_control_reads_as_many_other_positions_which_are_those_of_a_knockout():
    model, text, subject = plant("latch", 1).model, "f0 f1 s2 s3 f3 f4 f2 f5 end", "s2 s3"
    names = ["subject", "random:subject", "random:before", "random:subject_last", "random:3,4"]
    found = ms.ledger(model, text, subject=subject, source=names, seed=3)
    positions = {
        name: [*map(int, places.split(", "))]
        for name, places in zip(names, found["positions"].values.tolist(), strict=True)
    }
    own = {"subject": {2, 3}, "before": {0, 1}, "subject_last": {3}, "3,4": {3, 4}}
    for name, places in own.items():
        drawn = positions[f"random:{name}"]
        assert len(drawn) == len(places) and not places & {*drawn} and max(drawn) < 8
    asked = read_prompt(model, text, subject)
    for name in ("random:subject", "random:subject_last", "random:3,4"):
        assert positions[name] == sources_of(name, asked, [8], 3)
    numbered = [",".join(map(str, positions[name])) for name in names[1:4]]
    again = ms.ledger(model, text, subject=subject, source=list(dict.fromkeys(numbered)))
    for name, same in zip(names[1:4], numbered, strict=True):
        np.testing.assert_allclose(
            found["single"].sel(source=name), again["single"].sel(source=same), atol=2e-5
        )


def test_a_prompt_too_short_for_a_control_lacks_it_and_says_so():
    model, asked = plant("latch", 1).model, {"prompt": "s1 f1 end", "subject": "s1 f1"}
    with pytest.raises(PromptError, match="'random:subject' needs as many other positions before"):
        ms.ledger(model, **asked, source=["subject", "random:subject"])
    fact = FactPrompt(fact_id="a", **asked)
    (found,) = ledger_many(model, [fact], LedgerConfig(source=("subject", "random:subject")))
    assert found["source"].values.tolist() == ["subject"]
