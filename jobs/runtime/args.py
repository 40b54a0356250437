"""What every job is called with, and how its errors leave it."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from jobs.models import causal_graph
from jobs.runtime import result
from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError, SetupError
from jobs.runtime.site import Site, find_site

CHOICES = {  # what a person may choose against the gates; the words of jobs/models/decisions.py
    "ranker": ("challenger", "champion"),
    "uplift": ("challenger", "champion", "relevance"),
}


@dataclass(frozen=True)
class JobArgs:
    """Site and date of one job, and the environment it runs in; no job reads the clock.

    ``choices`` is what a person chose against the gates, by model, and ``reason`` why.
    """

    site: Site
    date: date
    environment: Environment
    force: bool = False
    dry_run: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> "JobArgs":
        """Arguments of the command line; SetupError where site or date cannot be, or no effect is identified."""
        parser = argparse.ArgumentParser(description="One job of the night.")
        parser.add_argument("--site", required=True, help="name of the site file")
        parser.add_argument("--date", required=True, help="run date, YYYY-MM-DD: nothing dated on or after it is read")
        parser.add_argument("--force", action="store_true", help="let an older run date replace a newer one")
        parser.add_argument("--dry-run", action="store_true", help="do everything but publish")
        for model, possible in CHOICES.items():
            parser.add_argument(f"--choose-{model}", help=f"against the gate: {', '.join(possible)}; needs --reason")
        parser.add_argument("--reason", default="", help="why the gate is overruled; it is recorded")
        given = parser.parse_args(argv)
        environment = Environment.load()
        try:
            day = date.fromisoformat(given.date)
        except ValueError:
            raise SetupError(f"--date {given.date!r} is not a day; write it as YYYY-MM-DD") from None
        site = find_site(given.site, environment.sites)
        causal_graph.adjusted_columns(site)  # before anything runs: a night whose effects mean nothing is refused
        choices = check_choices({model: getattr(given, f"choose_{model}") for model in CHOICES}, given.reason)
        return cls(site, day, environment, given.force, given.dry_run, choices, given.reason.strip())


def check_choices(choices: Mapping[str, str | None], reason: str) -> dict[str, str]:
    """A person's choices by model; SetupError for a choice there is not, or one without a reason."""
    found = {model: choice for model, choice in choices.items() if choice}
    for model, choice in found.items():
        if choice not in CHOICES[model]:
            raise SetupError(f"--choose-{model} {choice!r}: there is {', '.join(CHOICES[model])}")
    if found and not reason.strip():
        raise SetupError("--choose-ranker and --choose-uplift need --reason: it is recorded with the choice")
    return found


def dag_run() -> str:
    """Id of the DAG run this process belongs to, or 'manual'."""
    return os.environ.get("NIGHTLIFT_DAG_RUN", "manual")


def run(main: Callable[[], int]) -> None:
    """Leave the process with ``main``'s code; a NightliftError is one line, its traceback behind NIGHTLIFT_DEBUG."""
    try:
        code = main()
    except NightliftError as error:
        if os.environ.get("NIGHTLIFT_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        result.record(**{result.EXIT_CODE: error.exit_code, result.ERROR: str(error)})
        code = error.exit_code
    sys.exit(code)
