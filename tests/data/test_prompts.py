"""Generated prompts. `solve` is a reader of its own: it knows the sentences as written, and nothing of how they are made."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from mambascope.data.corpus import training_strings
from mambascope.data.invented import training_names
from mambascope.data.prompts import as_originals, make_prompts, prompt_text
from mambascope.data.prompts.deck import Deck
from mambascope.data.question import Passage, Question
from mambascope.errors import DataError

NAME = r"([A-Z][a-z]+ [A-Z][a-z]+)"
ROLE = "(friend|neighbour|sister|brother|uncle|cousin)"
SAID = {
    "thing": "has the|owns the",
    "place": "lives at the|is from the",
    "trade": "works as a|is a",
    "animal": "keeps a|feeds a",
    "food": "eats|cooks",
    "colour": "likes|wears",
}
ASKED = {
    "What is owned by (.+)": "thing",
    "What belongs to (.+)": "thing",
    "Where is the home of (.+)": "place",
    "Where do you find (.+)": "place",
    "What is the work of (.+)": "trade",
    "What is the trade of (.+)": "trade",
    "What is the pet of (.+)": "animal",
    "Which animal lives with (.+)": "animal",
    "What is the food of (.+)": "food",
    "What is the dinner of (.+)": "food",
    "Which colour suits (.+)": "colour",
    "What is the colour of (.+)": "colour",
}


def read(sentence: str) -> list[tuple[str, ...]]:
    """What a sentence can mean: (relation, of whom, what), or ("gives", thing, to whom)."""
    found: list[tuple[str, ...]] = []
    if match := re.fullmatch(rf"{NAME} gives the (\w+) to {NAME}", sentence):
        found.append(("gives", match[2], match[3]))
    if match := re.fullmatch(rf"{NAME}'s {ROLE} is {NAME}", sentence):
        found.append((match[2], match[1], match[3]))
    if match := re.fullmatch(rf"The {ROLE} of {NAME} is {NAME}", sentence):
        found.append((match[1], match[2], match[3]))
    for kind, verbs in SAID.items():
        if match := re.fullmatch(rf"{NAME} (?:{verbs}) (\w+)", sentence):
            found.append((kind, match[1], match[2]))
    return found


def facts_of(text: str) -> list[tuple[str, ...]]:
    passage = re.fullmatch(r"Passage: (.+)\. Question: .+\? Answer:", text)
    assert passage, text
    meanings = [read(sentence) for sentence in passage[1].split(". ")]
    assert all(len(each) == 1 for each in meanings), f"a sentence with none or two meanings: {text}"
    return [each[0] for each in meanings]


def who_is(described: str, facts: list[tuple[str, ...]]) -> str:
    if re.fullmatch(NAME, described):
        return described
    if match := re.fullmatch(r"the owner of the (\w+)", described):
        owner = next(
            who for relation, who, what in facts if (relation, what) == ("thing", match[1])
        )
        for relation, thing, taker in facts:
            owner = taker if (relation, thing) == ("gives", match[1]) else owner
        return owner
    for pattern, role, rest in ((rf"the {ROLE} of (.+)", 1, 2), (rf"(.+)'s {ROLE}", 2, 1)):
        if match := re.fullmatch(pattern, described):
            assert not ("'s" in described and " of " in described), f"two readings: {described}"
            of = who_is(match[rest], facts)
            return only(
                what for relation, who, what in facts if (relation, who) == (match[role], of)
            )
    raise AssertionError(f"nobody is {described!r}")


def only(found) -> str:
    answers = list(found)
    assert len(answers) == 1, answers
    return answers[0]


def solve(text: str) -> str:
    facts = facts_of(text)
    question = re.search(r"Question: (.+)\? Answer:$", text)
    assert question
    kind, described = only(
        (kind, match[1])
        for asked, kind in ASKED.items()
        if (match := re.fullmatch(asked, question[1]))
    )
    who = who_is(described, facts)
    return only(what for relation, of, what in facts if (relation, of) == (kind, who))


@pytest.fixture(scope="module")
def prompts() -> list[Question]:
    return make_prompts(100, seed=0)


def by_level(prompts: list[Question]) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for prompt in prompts:
        found.setdefault(str(prompt.category), []).append(prompt)
    return found


def test_the_solver_reads_what_is_written_here():
    chain = "Passage: Aba Bec's uncle is Cid Dof. Cid Dof eats rice. Question: What is the food of the uncle of Aba Bec? Answer:"
    assert solve(chain) == "rice"
    moved = (
        "Passage: Aba Bec has the key. Cid Dof is a poet. Aba Bec gives the key to Cid Dof. Aba Bec is a nurse. "
        "Question: What is the work of the owner of the key? Answer:"
    )
    assert solve(moved) == "poet"


def test_every_answer_follows_from_the_prompt_alone(prompts: list[Question]):
    assert len(prompts) == 600
    for prompt in prompts:
        assert (solve(prompt_text(prompt)),) == prompt.answers, prompt_text(prompt)


def test_other_seeds_and_numbers_have_right_answers_too():
    for prompt in make_prompts(37, seed=5):
        assert (solve(prompt_text(prompt)),) == prompt.answers


def test_levels_have_the_facts_that_their_names_say(prompts: list[Question]):
    sizes = {
        level: {len(facts_of(prompt_text(prompt))) for prompt in group}
        for level, group in by_level(prompts).items()
    }
    assert sizes == {
        "simple_recall": {4},
        "two_hop": {4},
        "three_hop": {6},
        "long_context": {5, 6, 7},
        "reasoning_memory": {6},
        "stress": {10, 11, 12},
    }
    assert {level: len(group) for level, group in by_level(prompts).items()} == dict.fromkeys(
        sizes, 100
    )


def test_facts_stand_in_the_order_of_the_steps(prompts: list[Question]):
    for prompt in prompts:
        places = [prompt.context.index(fact.sentence) for fact in prompt.supporting]
        if prompt.category in ("two_hop", "three_hop"):
            assert places == sorted(places) and len(places) == prompt.hops
        assert prompt.answers[0] in prompt.supporting[-1].sentence


def test_no_prompt_and_no_id_is_there_twice(prompts: list[Question]):
    assert len({prompt_text(prompt) for prompt in prompts}) == len(prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts)


def test_answers_and_places_are_balanced(prompts: list[Question]):
    for level, group in by_level(prompts).items():
        answers, places = Counter(), {}
        for prompt in group:
            facts = facts_of(prompt_text(prompt))
            place = next(i for i, fact in enumerate(facts) if prompt.answers[0] == fact[2])
            places.setdefault(len(facts), Counter())[place] += 1
            answers[facts[place][0], prompt.answers[0]] += 1
        for size, seen in places.items():
            possible = size - (group[0].hops - 1 if level in ("two_hop", "three_hop") else 0)
            assert len(seen) == possible and max(seen.values()) - min(seen.values()) <= 1
        kinds = Counter()
        for (kind, _), count in answers.items():
            kinds[kind] += count
        assert max(kinds.values()) - min(kinds.values()) <= 1
        for kind in kinds:  # of 12 answers or more each
            assert max(count for (of, _), count in answers.items() if of == kind) <= 2


def test_a_wrong_answer_of_the_right_kind_is_always_there(prompts: list[Question]):
    """So that naming whatever is of the kind asked for cannot be right in more than half of the cases."""
    for prompt in prompts:
        facts = facts_of(prompt_text(prompt))
        kind = next(fact[0] for fact in facts if fact[2] == prompt.answers[0])
        rivals = [fact[2] for fact in facts if fact[0] == kind]
        assert len(rivals) == len(set(rivals)) >= 2
        assert prompt.reason.endswith(f"1 of {len(rivals)} of its kind")


def test_in_recall_the_person_asked_for_is_named_no_oftener_than_another(prompts: list[Question]):
    for prompt in prompts:
        if prompt.hops == 1:
            named = Counter(fact[1] for fact in facts_of(prompt_text(prompt)))
            asked = prompt.supporting[0].sentence.split(" ")[:2]
            assert named[" ".join(asked)] == 2 and list(named.values()).count(2) == 2


def test_no_two_people_share_a_part_of_their_names(prompts: list[Question]):
    for prompt in prompts:
        names = set(re.findall(NAME, prompt.context.replace("The ", "")))
        parts = [part for name in names for part in name.split()]
        assert len(parts) == len(set(parts))


def test_no_name_and_no_prompt_leaks_from_the_training_of_the_bundled_models(
    prompts: list[Question],
):
    names = {
        name
        for prompt in prompts
        for name in re.findall(NAME, prompt_text(prompt).replace("The ", ""))
    }
    assert len(names) > 100
    trained = set()
    for texts in training_strings().values():
        for text in texts:
            trained.update(re.findall(rf"(?=\b{NAME}\b)", text))
    assert set(training_names()[:50]) & trained, "the search finds names where there are some"
    assert not names & trained


def test_the_same_seed_gives_the_same_prompts_and_another_seed_others():
    assert make_prompts(5, seed=1) == make_prompts(5, seed=1)
    assert {p.context for p in make_prompts(5, seed=1)}.isdisjoint(
        p.context for p in make_prompts(5, seed=2)
    )


def test_too_few_are_refused():
    with pytest.raises(DataError, match="at least 1, not 0"):
        make_prompts(0)


def test_an_original_prompt_is_asked_as_it_is_and_a_question_from_memory_without_a_passage():
    asked = Question(
        id="a",
        dataset="mine",
        question="The capital of France is",
        passages=(),
        answers=("Paris",),
        origin="f",
    )
    assert prompt_text(asked) == "Question: The capital of France is Answer:"
    assert prompt_text(asked, "lines") == "Question: The capital of France is\nAnswer:"
    assert [prompt_text(each) for each in as_originals([asked])] == ["The capital of France is"]
    with pytest.raises(DataError, match="'a' has a context"):
        as_originals([replace(asked, passages=(Passage("", "France."),))])


def test_a_deck_is_dealt_to_its_end_before_a_card_comes_again():
    from random import Random

    deck = Deck(Random(0), "abc")
    dealt = [deck.deal() for _ in range(9)]
    assert [sorted(dealt[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3
    assert deck.deal(lambda card: card == "b") == "b"
