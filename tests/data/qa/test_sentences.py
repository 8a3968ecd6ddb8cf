"""Sentences and tokens, compared with passages cut by hand."""

import pytest

from mambascope.data.qa.sentences import count_tokens, sentence_spans


@pytest.mark.parametrize(
    "parts",
    [
        ["Tarn is deep.", "It is in Osk!", "Is it?", "Yes."],
        ["Dr. Ilva Renk met J. K. Vost in the U.S. Senate.", "They talked."],
        ['"It is deep."', "He sank."],
        ["He said it (in 1871.)", "Then he left."],
        ["He fell in.[citation needed]", "He swam.[1][note 2]", "He left."],
        ["It cost $1.2 million.", "3 people paid."],
        ["It began at 6 p.m. Eastern Time.", "It ended."],
        ["The firm Renk & Co. Ltd. of Osk built No. 7 on Oct. 3.", "It stands."],
        ["The Renks’ boat sank.", "“Nobody drowned.”", "They swam"],
        ["A line without an end", "and another"],
    ],
)
def test_passages_are_cut_where_a_reader_would_cut_them(parts: list[str]):
    glue = "\n" if parts[0].endswith("end") else "  "
    passage = f" {glue.join(parts)}\n"
    assert [passage[start:end] for start, end in sentence_spans(passage)] == parts


def test_white_space_has_no_sentences():
    assert sentence_spans(" \n ") == ()


def test_tokens_are_words_and_punctuation_marks():
    assert count_tokens("Renk's boat (40 m) sank, twice.") == 12
    assert count_tokens("") == 0
