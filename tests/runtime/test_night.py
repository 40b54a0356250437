"""Following a night says how far it is and how long it may still take."""

from io import StringIO

import pytest
from rich.console import Console

from jobs.runtime import night

TASK = {"task_id": "extract", "state": "success", "duration": 3.2, "start_date": "2024-03-04T02:00:00Z"}
WAITING = {"task_id": "publish", "state": None, "duration": None, "start_date": None}


@pytest.mark.parametrize(
    ("seconds", "before", "said"),
    [
        (30.0, 400.0, "about 370 s left, if it takes as long as the last night"),
        (430.0, 400.0, "30 s longer than the last night"),
        (30.0, None, "no night before it to judge by"),
    ],
)
def test_time_left_is_judged_by_the_last_night(seconds: float, before: float | None, said: str) -> None:
    assert night.left(seconds, before) == said


def shown(terminal: bool, before: float | None) -> str:
    """What was written after three looks at the tasks."""
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with night._display(console, before) as show:
        for tasks in ([WAITING], [TASK, WAITING], [TASK, WAITING]):
            show(tasks)
    return out.getvalue()


def test_a_terminal_shows_a_table_with_the_time_left() -> None:
    text = shown(terminal=True, before=400.0)
    assert "extract" in text and "waiting" in text and "s left" in text


def test_elsewhere_each_change_is_one_line_after_the_last_nights_length() -> None:
    text = shown(terminal=False, before=400.0)
    assert text.splitlines() == ["the last night took 400 s", "extract: success 3 s"]
    first = shown(terminal=False, before=None)
    assert first.splitlines() == ["extract: success 3 s"]
