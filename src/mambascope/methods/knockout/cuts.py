"""The variants of a knockout: for each source and each window of layers one world, in which all questions share the cuts.

The windows of a source share everything but their layers, positions included, so that a replay computes what the targets' views
held before only once (interventions/shadows.py).
"""

from collections.abc import Sequence
from dataclasses import replace

from mambascope.interventions import Variant
from mambascope.methods.knockout.features import fixed_features, is_measured, measured_features
from mambascope.methods.knockout.question import Question
from mambascope.methods.knockout.settings import Settings
from mambascope.sites import Cut


def variants(settings: Settings, questions: Sequence[Question]) -> list[Variant]:
    """Source by source, window by window; a question without the source is left alone."""
    shared = _Shared(settings, questions)
    windows = [[*layers] for layers in settings.windows.values()]
    return [
        Variant(cuts=tuple(replace(cut, layers=layers) for cut in cuts))
        for cuts in map(shared.cuts, source_names(settings, questions))
        for layers in windows
    ]


def source_names(settings: Settings, questions: Sequence[Question]) -> list[str]:
    """The sources in their order; by position those of the longest prompt."""
    if not settings.config.by_position:
        return [*settings.config.sources]
    return [str(place) for place in range(max(len(question.asked.ids) for question in questions))]


class _Shared:
    """What the cuts of all sources have in common: targets, features and means."""

    def __init__(self, settings: Settings, questions: Sequence[Question]) -> None:
        self.settings, self.questions = settings, questions
        model, name = settings.model, settings.config.features
        # The features of groups of rows: measured ones differ from prompt to prompt.
        if is_measured(name):
            found = measured_features(model, name, [question.asked.ids for question in questions])
            self.groups = [(range(row, row + 1), own) for row, own in enumerate(found)]
        else:
            self.groups = [(range(len(questions)), fixed_features(model, name))]
        self.targets = [[questions[row].targets for row in rows] for rows, _ in self.groups]

    def cuts(self, source: str) -> list[Cut]:
        """The cuts of one source in the layers of no window yet."""
        config, means = self.settings.config, self.settings.means
        return [
            Cut(
                sources=[self.questions[row].sources.get(source, []) for row in rows],
                targets=targets,
                rows=rows,
                route=self.settings.route,
                mode=config.mode,
                features=features,
                write_mean=means.get("write_mean"),
                conv_mean=means.get("conv_mean"),
            )
            for (rows, features), targets in zip(self.groups, self.targets, strict=True)
        ]
