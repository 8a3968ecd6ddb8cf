"""Every format of facts, recognised by what is in the file, and every way in which a file can be wrong."""

import json
from pathlib import Path

import pytest

from mambascope.data.fact_prompt import FactPrompt, QuestionPrompt
from mambascope.data.fact_sets import FactSet, read_facts
from mambascope.data.facts import bundled_facts, held_out_phrasing, prompts
from mambascope.data.recall import seen_questions, unseen_questions
from mambascope.errors import DataError

KNOWN = {
    "known_id": 12,
    "subject": "Il Gazzettino",
    "attribute": "Italian",
    "template": "{} was written in",
    "prediction": " the early 1980s, when the Italian government was",
    "prompt": "Il Gazzettino was written in the early 1980s, when the",
    "relation_id": "P407",
}
COUNTERFACT = {
    "case_id": 7,
    "pararel_idx": 2796,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["Danielle Darrieux, a native"],
}
LRE = {
    "name": "country capital city",
    "prompt_templates": ["The capital city of {} is"],
    "prompt_templates_zs": ["What is the capital of {}? It is the city of", "The capital of {} is"],
    "properties": {"relation_type": "factual", "symmetric": False},
    "samples": [
        {"subject": "Brazil", "object": "Bras\\u00edlia"},
        {"subject": "Bolivia ", "object": "Sucre"},
        {"subject": "Bolivia", "object": "La Paz"},
    ],
}
CSV = 'prompt,subject,answer\n"The capital of {subject} is",France,Paris\n"In {}, they speak",Peru,Spanish\n'


@pytest.fixture
def file(tmp_path: Path):
    """Writes a file under a name that says nothing of its format."""

    def write(content: object, name: str = "facts.txt") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_bundled_facts_are_asked_in_a_seen_phrasing_and_unseen_ones_in_the_one_kept_back():
    seen, unseen = read_facts("bundled"), read_facts("bundled-unseen")
    assert [(f.prompt, f.answer, f.relation) for f in seen.facts] == [
        (q.prompt, q.answer, q.group) for q in seen_questions()
    ]
    assert [f.prompt for f in unseen.facts] == [q.prompt for q in unseen_questions()]
    assert [f.fact_id for f in unseen.facts] == [fact.fact_id for fact in bundled_facts()]
    assert all(f.subject in f.prompt for f in (*seen.facts, *unseen.facts))


def test_bundled_facts_can_be_of_some_relations_only():
    facts = read_facts("bundled-unseen:currency, capital").facts
    assert {fact.relation for fact in facts} == {"currency", "capital"}
    france = next(fact for fact in bundled_facts() if fact.fact_id == "capital/france")
    assert FactPrompt(
        fact_id="capital/france",
        prompt=prompts(france)[held_out_phrasing(france)],
        subject="France",
        answer="Paris",
        relation="capital",
    ) in list(facts)


def test_romes_known_facts_keep_their_prompts(file):
    assert read_facts(file([KNOWN])).facts == (
        FactPrompt(
            fact_id="known-12",
            prompt=KNOWN["prompt"],
            subject="Il Gazzettino",
            answer="Italian",
            relation="P407",
        ),
    )


def test_counterfact_asks_for_the_true_target(file):
    assert read_facts(file([COUNTERFACT])).facts == (
        FactPrompt(
            fact_id="counterfact-7",
            prompt="The mother tongue of Danielle Darrieux is",
            subject="Danielle Darrieux",
            answer="French",
            relation="P103",
        ),
    )


def test_a_relation_is_asked_in_its_first_zero_shot_template(file):
    facts = read_facts(file(LRE, "capital.json")).facts
    assert [(f.fact_id, f.prompt, f.answer) for f in facts] == [
        ("capital/Brazil", "What is the capital of Brazil? It is the city of", "Brasília"),
        ("capital/Bolivia", "What is the capital of Bolivia? It is the city of", "Sucre"),
        ("capital/Bolivia (2)", "What is the capital of Bolivia? It is the city of", "La Paz"),
    ]
    assert {f.relation for f in facts} == {"country capital city"}
    few_shot = {**LRE, "prompt_templates_zs": []}
    assert read_facts(file(few_shot)).facts[0].prompt == "The capital city of Brazil is"


def test_a_folder_is_all_the_files_in_it(file, tmp_path: Path):
    file(LRE, "capital.json")
    (tmp_path / "more").mkdir()
    file({**LRE, "name": "elsewhere"}, "more/capitals.json")
    file("not of facts", "README.md")
    facts = read_facts(tmp_path).facts
    assert [f.relation for f in facts] == ["country capital city"] * 3 + ["elsewhere"] * 3
    assert len({f.fact_id for f in facts}) == 6


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_fills_in_the_subject(delimiter: str, file):
    content = CSV.replace('"In {}, they speak"', "In {} they speak").replace(",", delimiter)
    facts = read_facts(file("\ufeff" + content)).facts
    assert [(f.prompt, f.subject, f.answer, f.relation) for f in facts] == [
        ("The capital of France is", "France", "Paris", None),
        ("In Peru they speak", "Peru", "Spanish", None),
    ]
    assert [f.fact_id for f in facts] == ["facts-00000", "facts-00001"]


def test_json_lines_and_a_list_of_the_same_records_are_the_same_facts(file):
    rows = [
        {"prompt": "{} is in", "subject": "Rome", "answer": "Italy", "fact_id": 7},
        {"prompt": "Oslo is in", "subject": "Oslo", "relation": "where"},
    ]
    lines = read_facts(file("\n".join(map(json.dumps, rows)) + "\n"))
    assert lines.facts == read_facts(file(rows)).facts
    assert [(f.fact_id, f.answer, f.relation) for f in lines.facts] == [
        ("7", "Italy", None),
        ("facts-00001", None, "where"),
    ]
    assert read_facts(file(rows[0])).facts == lines.facts[:1]


def test_broken_records_are_counted_and_named_and_the_rest_is_read(file):
    lines = [
        '{"prompt": "Oslo is in", "subject": "Oslo", "answer": "Norway", "fact_id": "a"}',
        '{"prompt": "Oslo is in", "subject": "Os',
        '{"prompt": "Rome is in", "answer": "Italy"}',
        '{"prompt": "Rome is in", "subject": "Rome", "answer": ""}',
        '{"prompt": "Rome is in", "subject": ["Rome"]}',
        '{"prompt": "Bonn is in", "subject": "Bonn", "fact_id": "a"}',
        "[1, 2]",
    ]
    path = file("\n".join(lines))
    read = read_facts(path)
    assert [f.fact_id for f in read.facts] == ["a"]
    wanted = [
        ("line 2", "no valid JSON"),
        ("line 3", "field 'subject' is missing"),
        ("line 4", "field 'answer' is empty"),
        ("line 5", "field 'subject' must be a text, not ['Rome']"),
        ("line 6", "fact_id 'a' was there before"),
        ("line 7", "field 'prompt' is missing"),
    ]
    assert len(read.broken) == len(wanted)
    for message, (line, reason) in zip(read.broken, wanted, strict=True):
        assert message.startswith(f"{path}: {line}: {reason}")


def test_broken_csv_lines_are_counted(file):
    read = read_facts(file(CSV + "too,many,cells,here\nno subject\n"))
    assert len(read.facts) == 2
    assert ["line 4" in message for message in read.broken] == [True, False]
    assert "field 'subject' is missing" in read.broken[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("[]", "holds no facts"),
        ("{}", "record 0 has no fields; a fact set is of"),
        ("[1]", "record 0 has 1; a fact set is of"),
        ('[{"a": 1, "b": 2}]', "record 0 has a, b; a fact set is of"),
        ('[{"subject": "x"', "no valid JSON"),
        ('{\n "subject": "x",\n', "no valid JSON"),
        ("some text\nthat goes on", "line 1: there is no column 'prompt'"),
        ("prompt,answer\na,b\n", "line 1: there is no column 'subject'"),
        ("prompt,subject\n", "holds no facts"),
        ([{**KNOWN, "subject": None}], "record 0: field 'subject' is missing"),
        ([{**KNOWN, "known_id": "x"}] * 2, "(and 1 more records like it)"),
        ([{"requested_rewrite": {"prompt": "{} is", "subject": "x"}}], "field 'case_id' must be"),
        (
            [{**COUNTERFACT, "requested_rewrite": {"prompt": "{} is", "subject": "x"}}],
            "record 0: field 'requested_rewrite.target_true.str' is missing",
        ),
        (
            [{**COUNTERFACT, "requested_rewrite": {"prompt": "Paris is", "subject": "x"}}],
            "field 'requested_rewrite.prompt' must hold {}",
        ),
        ({**LRE, "samples": []}, "holds no facts"),
        ({**LRE, "samples": {}}, "field 'samples' must be a list"),
        ({**LRE, "samples": [{"subject": "x"}]}, "sample 0: field 'object' is missing"),
        ({"samples": LRE["samples"]}, "field 'prompt_templates' is missing"),
        ({**LRE, "prompt_templates_zs": ["no place"]}, "field 'prompt_templates_zs' must hold"),
    ],
)
def test_what_is_no_fact_set_is_named_with_its_record_and_field(content, message: str, file):
    path = file(content)
    with pytest.raises(DataError) as error:
        read_facts(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_sources_that_are_not_there_are_errors(tmp_path: Path):
    for source, message in [
        ("bundled:capitals", "unknown relation 'capitals'"),
        ("no/such/file", "there is no fact set 'no/such/file'"),
        ("", "there is no fact set ''"),
        (str(tmp_path), "holds no files of facts"),
    ]:
        with pytest.raises(DataError, match=message):
            read_facts(source)
    (tmp_path / "facts.json").write_bytes(b"\xff\xfe[")
    with pytest.raises(DataError, match="no text in UTF-8"):
        read_facts(tmp_path)


def test_a_limit_takes_facts_in_turn_from_each_relation():
    def fact(name: str) -> FactPrompt:
        return FactPrompt(fact_id=name, prompt="p", subject="s", relation=name[0])

    whole = FactSet("here", tuple(map(fact, ["a1", "a2", "a3", "b1", "c1", "c2"])), ("broken",))
    assert [f.fact_id for f in whole.limited(5).facts] == ["a1", "b1", "c1", "a2", "c2"]
    assert whole.limited(5).broken == ("broken",)
    assert whole.limited(None) == whole.limited(6) == whole.limited(99) == whole


def test_a_limit_takes_questions_in_turn_from_each_category_of_each_data_set():
    def question(name: str) -> QuestionPrompt:
        dataset, category, _ = name.split("/")
        return QuestionPrompt(
            fact_id=name, prompt="p", answers=("a",), dataset=dataset, relation=category
        )

    names = ["custom/recall/1", "custom/recall/2", "custom/recall/3", "custom/hops/1"]
    names += ["squad/recall/1", "squad/recall/2"]
    whole = FactSet("here", tuple(map(question, names)))
    assert [f.fact_id for f in whole.limited(4).facts] == [
        "custom/recall/1",
        "custom/hops/1",
        "squad/recall/1",
        "custom/recall/2",
    ]


def test_the_digest_tells_whether_two_sets_ask_the_same(file):
    first, again = read_facts(file(LRE, "a.json")), read_facts(file(LRE, "a.json"))
    changed = {**LRE, "samples": [*LRE["samples"][:2], {"subject": "Bolivia", "object": "La Pas"}]}
    assert first.digest == again.digest
    assert first.digest != read_facts(file(changed, "a.json")).digest
    assert first.digest != first.limited(2).digest


@pytest.mark.real_data
def test_the_published_files_are_read_without_a_broken_record(real_data: Path):
    known = read_facts(real_data / "facts" / "known_1000_part.json")
    assert len(known.facts) == 700
    assert known.facts[0].prompt == "Vinson Massif is located in the continent of"
    relations = read_facts(real_data / "facts" / "relations")
    assert len({fact.relation for fact in relations.facts}) == 22
    assert not known.broken + relations.broken
    assert all(fact.subject in fact.prompt for fact in (*known.facts, *relations.facts))
    assert not any("\\u" in fact.answer for fact in relations.facts)
