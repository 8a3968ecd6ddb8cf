"""What a trace exchanges: the clean runs, the corrupted runs, and the edits that carry a value from one to the other.

Several questions share all of it: their clean prompts are one run, their corrupted rows another, and one edit serves the
cells of all questions that lie equally far from their prompts' ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mambascope.interventions import BaseRun, answer_probability
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.question import Question
from mambascope.methods.tracing.windows import severed_sites, window_of
from mambascope.models.language_model import LanguageModel
from mambascope.models.run import Run
from mambascope.sites import Edit, Taken


@dataclass(frozen=True, eq=False)
class Places:
    """One position of each question, by row of the base run: (n,) each.

    rows, questions: the row and its question; clean, corrupted: the position in the clean prompt and in the corrupted row
    """

    rows: np.ndarray
    questions: np.ndarray
    clean: np.ndarray
    corrupted: np.ndarray


class Worlds:
    """The clean and the corrupted runs with what is exchanged between them, and the base run that variants change."""

    def __init__(
        self, model: LanguageModel, questions: Sequence[Question], config: TracingConfig
    ) -> None:
        self.model, self.questions, self.config = model, questions, config
        self.severed = severed_sites(model, config)
        self.restoring = config.direction == "restore"
        rows = [len(question.corrupted.prompts) for question in questions]
        self.question_of = np.repeat(np.arange(len(questions)), rows)
        self.first_row = np.cumsum(rows) - rows
        corrupted = BaseRun(
            [prompt for question in questions for prompt in question.corrupted.prompts],
            tuple(
                edit
                for question, first in zip(questions, self.first_row.tolist(), strict=True)
                for edit in question.corrupted.edit_from(first)
            ),
        )
        clean = [question.asked.ids for question in questions]
        giving, staying = list(config.sites), list(self.severed)
        self.clean = model.run(clean, record=giving if self.restoring else staying, logits="last")
        # A restoring replay runs the corrupted prompts itself: they are run here only if something is taken from them.
        self.corrupted: Run | None = None
        if staying or not self.restoring:
            self.corrupted = model.run(
                corrupted.prompts,
                edits=corrupted.edits,
                record=staying if self.restoring else giving,
                logits="last",
            )
        self.base = corrupted if self.restoring else BaseRun([clean[q] for q in self.question_of])

    @property
    def tops(self) -> list[int]:
        """Each clean run's top token."""
        assert self.clean.logits is not None
        return self.clean.logits.argmax(-1).tolist()

    @property
    def targets(self) -> list[int]:
        """Each question's answer token."""
        return [
            top if question.target is None else question.target
            for question, top in zip(self.questions, self.tops, strict=True)
        ]

    @property
    def row_targets(self) -> list[int]:
        """The answer token of each row of the base run."""
        targets = self.targets
        return [targets[question] for question in self.question_of]

    def exchanged_scores(self) -> np.ndarray:
        """(questions,): the answer's probability in the run that is not changed, the mean over its rows."""
        run, targets = self.clean, self.targets
        if not self.restoring:
            assert self.corrupted is not None
            run, targets = self.corrupted, self.row_targets
        assert run.logits is not None
        every = torch.arange(len(run.logits), device=run.logits.device)
        found = answer_probability(targets)(run.logits, every).cpu().numpy().astype(np.float64)
        if self.restoring:
            return found
        return np.array([found[self.rows_of(i)].mean() for i in range(len(self.questions))])

    def rows_of(self, question: int) -> slice:
        """The question's rows of the base run."""
        first = int(self.first_row[question])
        return slice(first, first + len(self.questions[question].corrupted.prompts))

    def places_at(self, position: int) -> Places:
        """The places of one position of a single question's prompt."""
        (question,) = self.questions
        return self.places(len(question.asked.ids) - 1 - position)

    def places(self, back: int) -> Places:
        """The places `back` positions before each prompt's last; none in the questions whose subject begins later, and
        none in a row whose swapped subject has no such position.
        """
        found: list[tuple[int, int, int, int]] = []
        for number, question in enumerate(self.questions):
            position = len(question.asked.ids) - 1 - back
            if position >= question.asked.start:
                first = int(self.first_row[number])
                partners = question.corrupted.partners[:, position].tolist()
                found += [
                    (first + row, number, position, other)
                    for row, other in enumerate(partners)
                    if other >= 0
                ]
        return Places(*np.array(found, dtype=np.int64).reshape(-1, 4).T)

    def change(self, key: tuple[str, int], places: Places, own: Run) -> Tensor:
        """By how much the site's value in the base run (in `own`) changes where it is exchanged: (n, *axes)."""
        before = own.taken(key, places.rows[:, None], self.positions(places)[:, None])
        after = self._value(key, places, from_clean=self.restoring)
        return (after.values() - before.values())[:, 0]

    def exchange(self, site: str, window: int, layer: int, places: Places) -> Iterator[Edit]:
        """The edits of one cell: the other run's value of the site, and what is severed."""
        if not len(places.rows):
            return
        n_layers = self.model.config.n_layers
        near = window_of(layer, window, n_layers, self.config.align)
        for each in near:
            yield self._edit(site, each, places, from_clean=self.restoring)
        begin = near.stop if site == "resid_post" else near.start
        for name in self.severed:
            for each in range(begin, n_layers):
                yield self._edit(name, each, places, from_clean=not self.restoring)

    def _edit(self, site: str, layer: int, places: Places, *, from_clean: bool) -> Edit:
        return Edit(
            site=site,
            layers=layer,
            rows=places.rows,
            positions=self.positions(places)[:, None],
            value=self._value((site, layer), places, from_clean=from_clean),
        )

    def positions(self, places: Places) -> np.ndarray:
        """Where the places lie in the base run."""
        return places.corrupted if self.restoring else places.clean

    def _value(self, key: tuple[str, int], places: Places, *, from_clean: bool) -> Taken:
        """The one clean value for all rows of a question, or each corrupted row's own."""
        if from_clean:
            return self.clean.taken(key, places.questions[:, None], places.clean[:, None])
        assert self.corrupted is not None
        return self.corrupted.taken(key, places.rows[:, None], places.corrupted[:, None])
