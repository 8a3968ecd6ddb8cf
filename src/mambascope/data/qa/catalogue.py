"""Every data set that can be read, by the name that a source gives it."""

from mambascope.data.qa.drop import DROP
from mambascope.data.qa.hotpotqa import HOTPOTQA
from mambascope.data.qa.musique import MUSIQUE
from mambascope.data.qa.natural_questions import NATURAL_QUESTIONS
from mambascope.data.qa.question_set import QuestionSet
from mambascope.data.qa.squad import SQUAD
from mambascope.data.qa.triviaqa import TRIVIAQA

QUESTION_SETS: dict[str, QuestionSet] = {
    questions.name: questions
    for questions in (SQUAD, NATURAL_QUESTIONS, HOTPOTQA, TRIVIAQA, MUSIQUE, DROP)
}
