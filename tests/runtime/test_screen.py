"""What the command line writes: plain in logs, bars and colours on a terminal only."""

import io

import pytest
from rich.console import Console

from jobs.runtime.screen import EVERY, Screen


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def screen(terminal: bool, clock: Clock | None = None) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system="standard" if terminal else None)
    return Screen(console, clock or Clock()), out


def test_a_log_has_tab_separated_lines_and_no_colour() -> None:
    shown, out = screen(terminal=False)
    shown.table(("item", "reason"), [["i1", "[red]because[/red]"]])
    assert out.getvalue() == "item\treason\ni1\t[red]because[/red]\n"  # what came from data is never markup


def test_a_terminal_has_a_table() -> None:
    shown, out = screen(terminal=True)
    shown.table(("item", "reason"), [["i1", "[red]because[/red]"]])
    assert "┃" in out.getvalue() and "[red]because[/red]" in out.getvalue()


def test_no_color_leaves_colours_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out: dict[bool, str] = {}
    for plain in (False, True):
        monkeypatch.setenv("NO_COLOR", "1") if plain else monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        file = io.StringIO()
        with Screen(Console(file=file, force_terminal=True, width=100)).track("users", 3) as advance:
            advance(3)
        out[plain] = file.getvalue()
    assert "\x1b[38;5;" in out[False] or "\x1b[3" in out[False]
    assert "\x1b[38;5;" not in out[True] and "\x1b[32m" not in out[True]


def test_a_log_says_now_and_then_how_far_how_fast_and_how_long_still() -> None:
    clock = Clock()
    shown, out = screen(terminal=False, clock=clock)
    with shown.track("raw.users", 1_000) as advance:
        for _ in range(4):
            clock.now += EVERY / 2
            advance(250)
    assert out.getvalue().splitlines() == [
        "raw.users: 500 of 1,000 rows, 50 a second, 10 s left",
        "raw.users: 1,000 rows in 20.0 s (50 a second)",
    ]


def test_a_bar_has_rate_and_time_left() -> None:
    clock = Clock()
    shown, out = screen(terminal=True, clock=clock)
    with shown.track("raw.users", 1_000) as advance:
        advance(400)
    assert "400 of 1,000 rows" in out.getvalue() and "-:--:--" in out.getvalue()


def test_work_that_fails_is_not_said_to_be_done() -> None:
    shown, out = screen(terminal=False)
    with pytest.raises(ValueError, match="broken"), shown.track("raw.users", 2):
        raise ValueError("broken")
    assert out.getvalue() == ""
