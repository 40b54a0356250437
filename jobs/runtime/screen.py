"""What the command line writes: colours, tables and progress bars on a terminal, plain lines everywhere else."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

Advance = Callable[[int], None]
EVERY = 10.0  # seconds between two lines about the same work in a log


class Screen:
    """Lines, tables and progress on one console; rich leaves colours out for NO_COLOR and where nobody looks."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console()
        self.clock = clock

    def say(self, text: str) -> None:
        """One line, as it is."""
        if self.console.is_terminal:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.console.file, flush=True)  # rich would make spaces of tabs

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on a terminal, tab-separated lines elsewhere."""
        if not self.console.is_terminal:
            for line in (head, *rows):
                self.say("\t".join(line))
            return
        table = Table()
        for word in head:
            table.add_column(Text(word))
        for line in rows:
            table.add_row(*(Text(cell) for cell in line))
        self.console.print(table)

    @contextmanager
    def track(self, what: str, total: int, unit: str = "rows") -> Iterator[Advance]:
        """Progress of ``total`` units; the function yielded is told how many more are done.

        A bar with rate and time left on a terminal, now and then a line elsewhere; a line at the end.
        """
        began = self.clock()
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), _Rate(unit), TimeRemainingColumn())
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(what, total=total)
                yield lambda count: bar.advance(task, count)
        else:
            yield _Lines(self, what, total, unit)
        took = self.clock() - began
        self.say(f"{what}: {total:,} {unit} in {took:.1f} s ({_rate(total, took)} a second)")


class _Lines:
    """Progress in a log: one line at most every ``EVERY`` seconds."""

    def __init__(self, screen: Screen, what: str, total: int, unit: str) -> None:
        self.screen, self.what, self.total, self.unit = screen, what, total, unit
        self.began = self.said = screen.clock()
        self.done = 0

    def __call__(self, count: int) -> None:
        self.done += count
        now = self.screen.clock()
        if now - self.said < EVERY or not 0 < self.done < self.total:
            return
        self.said = now
        took = now - self.began
        left = took * (self.total - self.done) / self.done
        self.screen.say(
            f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {_rate(self.done, took)} a second,"
            f" {left:.0f} s left"
        )


class _Rate(ProgressColumn):
    """How much of how much, and how fast."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The column of one task."""
        speed = f", {task.speed:,.0f} a second" if task.speed else ""
        return Text(f"{task.completed:,.0f} of {task.total or 0:,.0f} {self.unit}{speed}")


def _rate(count: int, seconds: float) -> str:
    rate = count / max(seconds, 0.001)
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
