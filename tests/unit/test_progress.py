"""A bar for long work: where a person watches, and nowhere else."""

from contextlib import redirect_stderr
from io import StringIO
from itertools import count

import pytest

from langchain_lean.progress import progress_bar
from tests.unit.kernels import outputs

REMOVED = "\x1b[1A\x1b[2K"  # the cursor goes up, and the line is cleared


class Terminal(StringIO):
    """A text stream that a person looks at."""

    def isatty(self):
        return True


class Broken(Terminal):
    """A terminal that nothing can be written to any more."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.fixture(autouse=True)
def _able(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def work(*, seconds, on_progress=None, inside=lambda: None):
    """Work of some seconds, a quarter at a time."""
    clock = count(0, seconds / 4)
    with progress_bar("Trying levers", on_progress, timer=lambda: next(clock)) as told:
        for quarter in range(1, 5):
            told(quarter / 4)
            inside()


def shown(**given):
    """What a terminal is sent while there is work."""
    terminal = Terminal()
    with redirect_stderr(terminal):
        work(**given)
    return terminal.getvalue()


class TestInATerminal:
    def test_a_bar_shows_how_far_work_of_more_than_a_second_is(self):
        written = shown(seconds=8)
        assert "Trying levers" in written
        assert "100%" in written

    def test_it_is_removed_at_the_end(self):
        assert shown(seconds=8).endswith(REMOVED)

    def test_it_is_removed_where_the_work_fails(self):
        terminal = Terminal()
        with redirect_stderr(terminal), pytest.raises(ZeroDivisionError):
            work(seconds=8, inside=lambda: 1 / 0)
        assert terminal.getvalue().endswith(REMOVED)

    def test_work_of_less_than_a_second_shows_nothing(self):
        assert shown(seconds=0.9) == ""

    def test_what_the_application_prints_goes_where_it_always_goes(self, capsys):
        written = shown(seconds=8, inside=lambda: print("a line"))
        assert capsys.readouterr().out == 4 * "a line\n"
        assert "a line" not in written

    def test_a_bar_can_stand_inside_of_another(self):
        written = shown(seconds=8, inside=lambda: work(seconds=8))
        assert written.endswith(REMOVED)


class TestElsewhere:
    @pytest.mark.parametrize("forced", [None, "FORCE_COLOR", "TTY_INTERACTIVE"])
    def test_nothing_is_shown(self, forced, monkeypatch, capsys):
        if forced:
            monkeypatch.setenv(forced, "1")
        work(seconds=8)
        assert capsys.readouterr() == ("", "")

    def test_nothing_is_shown_in_a_terminal_that_cannot_move_its_cursor(
        self, monkeypatch
    ):
        monkeypatch.setenv("TERM", "dumb")
        assert shown(seconds=8) == ""

    @pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
    def test_a_terminal_that_breaks_does_not_end_the_work(self, error):
        done = []
        with redirect_stderr(Broken(error)):
            work(seconds=8, inside=lambda: done.append("a quarter"))
        assert len(done) == 4

    def test_a_function_that_is_given_is_told_at_once_and_instead(self):
        seen = []
        assert shown(seconds=0.1, on_progress=seen.append) == ""
        assert shown(seconds=8, on_progress=seen.append) == ""
        assert seen == 2 * [0.25, 0.5, 0.75, 1.0]


WORK = """
from itertools import count
from langchain_lean.progress import progress_bar
clock = count(0, 2)
with progress_bar("<b>Trying", timer=lambda: next(clock)) as told:
    told(0.5)
"""
WATCHED = "get_ipython().kernel._allow_stdin = True"  # as an open notebook's is
NO_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"


class TestInANotebook:
    def test_a_bar_stands_below_the_cell_and_is_empty_at_the_end(self):
        [[shown]] = outputs("\n".join([WATCHED, NO_WIDGETS, WORK]))
        assert shown.output_type == "display_data"
        assert shown.data == {"text/plain": "", "text/html": ""}

    def test_a_bar_has_its_label_as_text_and_how_far_the_work_is(self):
        looking = "    print(updates[-1])"
        spying = (
            "import IPython.display as d\nupdates = []\n"
            "d.DisplayHandle.update = lambda self, data, **_: updates.append(data)"
        )
        [shown] = outputs("\n".join([WATCHED, spying, WORK + looking]))
        assert '&lt;b&gt;Trying <progress value="0.500"></progress>' in shown[-1].text

    def test_a_notebook_that_is_run_for_nobody_shows_none(self):
        assert outputs(WORK) == [[]]
