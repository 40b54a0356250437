"""The command line: services, runs, and what is published."""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from jobs.runtime import services
from jobs.runtime.args import check_choices
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.errors import NightliftError, SetupError
from jobs.runtime.site import find_site

DEMO = "grocery"
DEMO_DATE = "2017-12-03"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(soft_wrap=not sys.stdout.isatty())

SiteName = Annotated[str, typer.Option("--site", help="name of the site file")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]


@app.callback()
def _nightlift(debug: Annotated[bool, typer.Option(help="show tracebacks")] = False) -> None:
    """Recommendations ranked by what showing an item changes."""
    if debug:
        os.environ["NIGHTLIFT_DEBUG"] = "1"


@app.command()
def up() -> None:
    """Start the services of this machine; what runs is kept."""
    _addresses(services.up(Environment.load(), _say))


@app.command()
def stop() -> None:
    """Stop the services; everything they hold is kept."""
    services.stop(Environment.load(), _say)


@app.command()
def clean(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Stop the services and remove their state: warehouse, lake, models, history."""
    environment = Environment.load()
    if not yes and not typer.confirm(f"Remove {environment.home} with warehouse, lake and models?"):
        raise NightliftError("nothing removed")
    services.clean(environment, _say)


@app.command()
def run(
    site: SiteName = DEMO,
    day: Annotated[str, typer.Option("--date", help="run date; default: the demo's, else today")] = "",
    force: Annotated[bool, typer.Option(help="publish over a newer run date")] = False,
    dry_run: Annotated[bool, typer.Option(help="everything but publish")] = False,
    choose_ranker: Annotated[str, typer.Option(help="against the comparison: challenger or champion")] = "",
    choose_uplift: Annotated[str, typer.Option(help="against the gate: challenger, champion or relevance")] = "",
    reason: Annotated[str, typer.Option(help="why; it is recorded with a choice")] = "",
) -> None:
    """Run one night through the scheduler and show what came out."""
    from jobs.models import causal_graph
    from jobs.runtime import night

    started = time.monotonic()
    choices = check_choices({"ranker": choose_ranker, "uplift": choose_uplift}, reason)
    run_date = _day(day or (DEMO_DATE if site == DEMO else datetime.now(UTC).date().isoformat()))
    environment = Environment.load()
    settings = find_site(site, environment.sites)
    causal_graph.adjusted_columns(settings)
    environment = services.up(environment, _say)
    parts = {"services": time.monotonic() - started}
    if site == DEMO:
        from jobs.tables import demo

        if demo.is_empty(settings, environment):
            at = time.monotonic()
            demo.load_demo(settings, environment, _say)
            parts["demo data"] = time.monotonic() - at
    at = time.monotonic()
    _say(f"nightly_{site} for {run_date}")
    conf: dict[str, Any] = {"run_date": run_date.isoformat(), "force": force, "dry_run": dry_run}
    conf |= {f"choose_{model}": choice for model, choice in choices.items()} | ({"reason": reason} if choices else {})
    # the demo's data end in 2018: its schedule stays off, or it would fail every real night
    night.follow(environment, site, conf, console, keep_schedule=site != DEMO)
    parts["night"] = time.monotonic() - at
    if not dry_run:
        _summary(settings, environment, run_date)
    _addresses(environment, site, run_date)
    _say("stop: make stop")
    _say(
        f"took {time.monotonic() - started:.0f} s: "
        + ", ".join(f"{what} {value:.0f} s" for what, value in parts.items())
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run every test; further arguments go to pytest."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "pytest", *context.args], cwd=ROOT))


@app.command()
def load(
    site: SiteName,
    folder: Annotated[Path, typer.Option("--from", help="folder with users, items, interactions, exposures")],
) -> None:
    """Load .parquet or .csv tables into the raw schema, all or nothing."""
    from jobs.tables import load as loader

    environment = Environment.load()
    settings = find_site(site, environment.sites)
    if not (os.environ.get("WAREHOUSE_URL") or services.running(environment)["postgres"]):
        environment = services.up(environment, _say)
    loaded = loader.load_folder(settings, folder, environment)
    _say(f"loaded {folder} into {settings.warehouse.raw_schema}" + (f": {loaded}" if loaded else ""))


@app.command()
def status(site: SiteName = DEMO, as_json: AsJson = False) -> None:
    """What is published, and the versions before it."""
    from jobs.tables import versions

    environment = Environment.load()
    _rows(versions.status(find_site(site, environment.sites), environment), as_json, "nothing is published")


@app.command()
def rollback(site: SiteName = DEMO, version: Annotated[str, typer.Option(help="default: the one before")] = "") -> None:
    """Publish an earlier version again."""
    from jobs.tables import versions

    environment = Environment.load()
    _rows([versions.rollback(find_site(site, environment.sites), environment, version or None)], False, "")
    _say("the champion aliases in MLflow stay where they are; the next night that publishes moves them")


@app.command()
def explain(user: Annotated[str, typer.Option()], site: SiteName = DEMO, as_json: AsJson = False) -> None:
    """Why a user is shown these items."""
    from jobs.tables import versions

    environment = Environment.load()
    found = versions.explain(find_site(site, environment.sites), environment, user)
    _rows(found, as_json, f"user {user!r} has no published recommendations")


@app.command()
def simulate(
    nights: Annotated[int, typer.Option(min=1)] = 20,
    policies: Annotated[str, typer.Option(help="comma-separated")] = "adjusted,relevance,popularity,random,oracle",
    scenario: Annotated[str, typer.Option(help="helpful, null, harmful, drift or no_exploration")] = "helpful",
    seeds: Annotated[int, typer.Option(min=1, help="how many worlds")] = 5,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    document: Annotated[Path | None, typer.Option("--json", help="file for every figure")] = None,
    plot: Annotated[Path | None, typer.Option(help="file for the plot, .png or .html")] = None,
) -> None:
    """Simulate nights of worlds whose effects are known: what each policy adds, and whether intervals are honest."""
    from jobs import simulate as simulator
    from jobs.models import simulation_results
    from jobs.runtime import simulation_page

    chosen, names = simulator.parse(scenario, policies)
    if plot:
        simulation_page.check(plot)
    rows = simulator.simulate_all(chosen, names, range(first_seed, first_seed + seeds), nights)
    found = simulation_results.figures(rows, simulator.drift_after(chosen, nights))
    if document:
        document.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if plot:
        simulation_page.save(found, plot)
    for sentence in simulation_results.sentences(found):
        _say(sentence)


@app.command("warehouse-url")
def warehouse_url() -> None:
    """The libpq URL of the warehouse."""
    typer.echo(Environment.load().warehouse_url)


def main() -> None:
    """The command line; an error is one line on stderr and its exit code."""
    try:
        app()
    except NightliftError as error:
        if os.environ.get("NIGHTLIFT_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SetupError(f"--date {text!r} is not a day; write it as YYYY-MM-DD") from None


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _summary(site: Any, environment: Environment, run_date: date) -> None:
    from jobs.tables import versions

    found = versions.summary(site, environment, run_date)
    _say(f"published {found['version_id']}: {found['rows']} rows, checksum {found['checksum']}")
    _say(f"top ten of user {found['user_id']}")
    _table(found["top_ten"])
    _say("relevance list beside the adjusted list")
    _table(found["comparison"])


def _addresses(environment: Environment, site: str = "", day: date | None = None) -> None:
    for label, address in services.addresses(environment, site, day).items():
        _say(f"{label}: {address}")


def _rows(rows: Sequence[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        typer.echo(json.dumps(list(rows), default=str, indent=2))
    elif rows:
        _table(rows)
    if not rows and nothing:
        raise NightliftError(nothing)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere."""
    if not rows:
        return
    cells = [[f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    if not console.is_terminal:
        for line in ([*rows[0]], *cells):
            _say("\t".join(line))
        return
    table = Table(*rows[0])
    for line in cells:
        table.add_row(*line)
    console.print(table, markup=False)
