from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mambascope.data.invented import KINDS, training_names
from mambascope.data.lists import WORDS, copy_list, ledger


@given(st.integers(0, 10**9))
def test_a_copy_says_the_same_words_twice(seed):
    first, second = copy_list(Random(seed)).text.removeprefix("List: ").split(" Again: ")
    assert first == second
    assert set(first.split()) <= set(WORDS) and 3 <= len(first.split()) <= 12


@given(st.integers(0, 10**9))
def test_a_ledger_says_each_pair_four_times_and_no_name_or_word_in_two_pairs(seed):
    rows = ledger(Random(seed)).text.removeprefix("List: ").removesuffix(".").split(". ")
    counts = Counter(tuple(row.split(": ")) for row in rows)
    assert set(counts.values()) == {4} and 2 <= len(counts) <= 6
    names, words = zip(*counts, strict=True)
    assert len(set(names)) == len(set(words)) == len(counts)
    assert set(names) <= set(training_names())
    assert any(set(words) <= set(kind.answers) for kind in KINDS)


def test_each_round_of_a_ledger_has_every_pair_in_a_new_order():
    rows = ledger(Random(5)).text.removeprefix("List: ").removesuffix(".").split(". ")
    n = len(set(rows))
    rounds = [rows[i : i + n] for i in range(0, len(rows), n)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert any(one != rounds[0] for one in rounds)


def test_what_is_decided_is_the_copy_and_the_words_of_later_rounds():
    copied = copy_list(Random(2))
    ((begin, end),) = copied.decided
    assert copied.text[:begin].endswith("Again:") and end == len(copied.text)
    told = ledger(Random(5))
    n = len(told.decided) // 3
    words = [told.text[begin:end] for begin, end in told.decided]
    assert sorted(words[:n]) == sorted(words[n : 2 * n]) == sorted(words[2 * n :])
    for begin, end in told.decided:
        who = told.text[:begin].rsplit(". ", 1)[1]
        assert told.text.index(f" {who}{told.text[begin:end]}") < begin - len(who) - 1
