"""Subjects to swap in: of the same relation, with another answer, and the same in whatever order the facts come."""

import random

from mambascope.data.fact_prompt import FactPrompt
from mambascope.methods.tracing.swaps import swap_subjects


def fact(subject, answer, relation="capital", fact_id=None):
    return FactPrompt(
        fact_id=fact_id or f"{relation}/{subject}", prompt=f"{subject} is", subject=subject,
        answer=answer, relation=relation,
    )  # fmt: skip


CITIES = [fact(f"country {i}", f"city {i % 7}") for i in range(21)]


def test_others_share_the_relation_but_neither_subject_nor_answer():
    facts = [
        *CITIES,
        fact("country 1", "French", "language"),
        fact("country 2", "Thai", "language"),
    ]
    found = swap_subjects(facts, 100)
    assert set(found["capital/country 8"]) == {f"country {i}" for i in range(21) if i % 7 != 1}
    assert found["language/country 1"] == ("country 2",)
    assert {len(others) for others in swap_subjects(CITIES, 5).values()} == {5}


def test_the_choice_depends_on_fact_seed_and_relation_alone():
    ours = swap_subjects(CITIES, 4, seed=3)
    mixed = [*CITIES, *(fact(f"person {i}", f"land {i}", "born in") for i in range(9))]
    random.Random(0).shuffle(mixed)
    theirs = swap_subjects(mixed, 4, seed=3)
    assert {name: theirs[name] for name in ours} == ours
    assert swap_subjects(CITIES, 4, seed=4) != ours
    assert all(
        ours[name] == others[:4] for name, others in swap_subjects(CITIES, 9, seed=3).items()
    )


def test_the_choices_are_spread_over_all_candidates():
    facts = [fact(f"country {i}", f"city {i}") for i in range(200)]
    chosen = [other for others in swap_subjects(facts, 10).values() for other in others]
    counts = [chosen.count(f.subject) for f in facts]
    assert sum(counts) == 2000
    # Binomial(199, 10 / 199): mean 10, standard deviation 3.1.
    assert min(counts) > 0 and max(counts) < 10 + 5 * 3.1


def test_an_answer_in_any_fact_of_the_relation_counts_and_a_missing_one_does_not():
    facts = [
        fact("Bolivia", "La Paz"),
        fact("Bolivia", "Sucre", fact_id="second"),
        fact("Chuquisaca", "Sucre"),
        fact("Peru", None),
        fact("Chile", None),
    ]
    found = swap_subjects(facts, 9)
    assert set(found["capital/Bolivia"]) == {"Peru", "Chile"} == set(found["second"])
    assert set(found["capital/Peru"]) == {"Bolivia", "Chuquisaca", "Chile"}


def test_a_fact_without_relation_has_no_others():
    facts = [fact("A", "1", None, "x"), fact("B", "2", None, "y"), fact("C", "3", "", "z")]
    assert swap_subjects(facts, 3) == {"x": (), "y": (), "z": ()}
