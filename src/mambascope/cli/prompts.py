"""`mambascope prompts`: prompts with known answers, level by level, for `mambascope evaluate` and every later study."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Make prompts of six levels: recall, two and three steps, many facts, and things that change hands."""

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The file to write, one prompt as a line of JSON."""
    per_level: int = 100
    """How many prompts of each level."""
    seed: int = 0
    """The same seed and number give the same file."""
    original: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Prompts of your own, lines of JSON with question (the whole prompt) and answers: kept as they are, marked, put first."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Write the prompts, and say how many there are."""
        from mambascope.data.prompts import as_originals, make_prompts
        from mambascope.data.question_files import as_lines, read_questions
        from mambascope.errors import DataError
        from mambascope.results.folder import check_file, write_files

        check_file(self.out)
        own = []
        if self.original is not None:
            own, broken = read_questions(self.original)
            if broken:
                raise DataError(broken[0])
        prompts = [*as_originals(own), *make_prompts(self.per_level, self.seed)]
        write_files(self.out.parent, {self.out.name: as_lines(prompts)})
        counts = {**Counter("original" if p.category is None else p.category for p in prompts)}
        if self.json:
            print(json.dumps({"out": str(self.out), **counts}))
            return
        for name, count in counts.items():
            print(f"{name:<18}{count:>6}")
        print(f"wrote {self.out}")
