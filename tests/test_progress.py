"""The bar as it is drawn: read off a console that writes into a text."""

import io

from rich.console import Console

from mambascope.progress import ProgressBar


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def drawn(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_it_shows_what_is_done_and_how_much_of_it():
    on = console(terminal=True)
    with ProgressBar("loading [a] model", on) as bar:
        assert bar.shown
        bar.begin("tracing facts", 3, 40)
        bar.move(7, "2.50 facts/s")
    shown = drawn(on)
    assert "tracing facts" in shown
    assert " 7/40 " in shown
    assert "2.50 facts/s" in shown


def test_what_begins_anew_shows_nothing_of_what_was_before():
    on = console(terminal=True)
    with ProgressBar("loading", on, kept=True) as bar:
        bar.begin("asking facts", 0, 40)
        bar.move(40, "9.00 facts/s")
        bar.begin("tracing facts", 0, 40)
    end = drawn(on).split("\x1b[2K")[-1]
    assert "tracing facts" in end
    assert " 0/40 " in end
    assert "9.00" not in end


def test_a_method_that_tells_its_progress_moves_it():
    on = console(terminal=True)
    with ProgressBar("loading [a] model", on, kept=True) as bar:
        advance = bar.follow("tracing cells")
        advance(1, 12)
        advance(5, 12)
    end = drawn(on).split("\x1b[2K")[-1]
    assert "tracing cells" in end
    assert " 5/12 " in end


def test_only_a_bar_that_is_kept_stays_on_the_screen():
    left = {}
    for kept in (True, False):
        on = console(terminal=True)
        with ProgressBar("training", on, kept=kept) as bar:
            bar.begin("training", 0, 2)
        left[kept] = drawn(on).split("\x1b[2K")[-1]
    assert "training" in left[True]
    assert "training" not in left[False]


def test_where_no_terminal_is_nothing_is_drawn():
    on = console(terminal=False)
    with ProgressBar("loading", on) as bar:
        assert not bar.shown
        bar.begin("tracing", 0, 2)
        bar.move(1, "fast")
    assert drawn(on) == ""
