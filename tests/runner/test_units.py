"""Which facts share a replay follows from configuration and facts, and from nothing else."""

import random

from mambascope.data.fact_prompt import FactPrompt
from mambascope.runner.config import TraceSweep
from mambascope.runner.methods import method_of
from mambascope.runner.units import ask_units, batch_units, measure_units

TRACE = method_of("trace")
CONFIG = TraceSweep(facts="bundled", batch=3)


def fact(name: str) -> FactPrompt:
    return FactPrompt(fact_id=name, prompt="p", subject="s")


def trace_units(facts: list, asked: dict, config: TraceSweep = CONFIG) -> list:
    """The batches of a sweep whose subjects need not be measured."""
    given = TRACE.given(facts, config, [])
    return batch_units(TRACE.done, facts, asked, config.batch, given)


def asked(**lengths: int) -> dict:
    return {
        name: {"status": "taken" if length else "failed", "length": length}
        for name, length in lengths.items()
    }


def test_facts_of_similar_length_are_batched_in_the_order_of_the_source():
    lengths = asked(a=7, b=5, c=9, d=5, e=7, f=0, g=5, h=6)
    units = trace_units([fact(name) for name in lengths], lengths)
    assert [unit.fact_ids for unit in units] == [["b", "d", "g"], ["h", "a", "e"], ["c"]]
    assert [unit.number for unit in units] == [0, 1, 2]


def test_only_facts_that_are_taken_are_traced_but_all_with_a_subject_are_measured():
    lengths = asked(a=7, b=0, c=9)
    lengths["c"]["status"] = "skipped"
    facts = [fact(name) for name in lengths]
    assert [unit.fact_ids for unit in trace_units(facts, lengths)] == [["a"]]
    assert [unit.fact_ids for unit in measure_units(TRACE.measured(facts, CONFIG), lengths)] == [
        ["a", "c"]
    ]


def test_nothing_is_measured_where_the_corruption_needs_no_statistics():
    lengths = asked(a=7)
    for tracing, count in [
        ({"corruption": "noise"}, 1),
        ({"corruption": "mean"}, 1),
        ({"corruption": "mean", "reference": "some text"}, 0),
        ({"corruption": "swap"}, 0),
    ]:
        config = TraceSweep(facts="bundled", tracing=tracing)
        assert len(measure_units(TRACE.measured([fact("a")], config), lengths)) == count


def test_each_fact_is_in_exactly_one_unit_of_each_stage():
    names = [f"f{number}" for number in range(200)]
    lengths = asked(**{name: random.Random(name).randint(1, 30) for name in names})
    facts = [fact(name) for name in names]
    for units in (ask_units(facts), trace_units(facts, lengths)):
        assert sorted(name for unit in units for name in unit.fact_ids) == sorted(names)


def test_a_batch_gets_the_swapped_subjects_of_its_own_facts():
    lengths = asked(a=1, b=2, c=3, d=4)
    relations = {"a": "r", "b": "r", "c": "other", "d": "r"}
    facts = [
        FactPrompt(fact_id=name, prompt="p", subject=name.upper(), answer=name, relation=relation)
        for name, relation in relations.items()
    ]
    swapped = TraceSweep(facts="bundled", batch=3, tracing={"corruption": "swap"})
    first, second = (unit.given.swaps for unit in trace_units(facts, lengths, swapped))
    assert {name: set(own) for name, own in first.items()} == {
        "a": {"B", "D"}, "b": {"A", "D"}, "c": set(),
    }  # fmt: skip
    assert {name: set(own) for name, own in second.items()} == {"d": {"A", "B"}}
