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
from typing import Annotated, Any, NoReturn

import typer

from jobs.runtime import services
from jobs.runtime.args import check_choices
from jobs.runtime.environment import ROOT, Environment
from jobs.runtime.errors import NightliftError, SetupError
from jobs.runtime.screen import Screen
from jobs.runtime.site import find_site

DEMO = "grocery"
DEMO_DATE = "2017-12-03"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
screen = Screen()

SiteName = Annotated[str, typer.Option("--site", help="name of the site file")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]


@app.callback(invoke_without_command=True)
def _nightlift(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks; stands anywhere on the line")] = False,
) -> None:
    """Recommendations ranked by what showing an item changes.

    \b
    Examples:
      python -m jobs run                                  the demo's night, from nothing
      python -m jobs load --site shop --from data         your own users, items, events and exposures
      python -m jobs run --site shop --date 2024-03-04    your own night
      python -m jobs COMMAND --help                       more about a command, with examples
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def up() -> None:
    """Start the services of this machine; what runs is kept.

    \b
    Examples:
      python -m jobs up
      NIGHTLIFT_HOME=/data/nightlift python -m jobs up
    """
    _addresses(services.up(Environment.load(), _say))


@app.command()
def stop() -> None:
    """Stop the services; everything they hold is kept.

    \b
    Examples:
      python -m jobs stop
    """
    services.stop(Environment.load(), _say)


@app.command()
def clean(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Stop the services and remove their state. Warehouse, lake, models and history are gone.

    \b
    Examples:
      python -m jobs clean
      python -m jobs clean --yes
    """
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
    """Run one night through the scheduler and show what came out.

    \b
    Examples:
      python -m jobs run
      python -m jobs run --site shop --date 2024-03-04
      python -m jobs run --site shop --date 2024-03-04 --dry-run
      python -m jobs run --site shop --choose-uplift relevance --reason "a sale began"
    """
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
            demo.load_demo(settings, environment, screen)
            parts["demo data"] = time.monotonic() - at
    at = time.monotonic()
    _say(f"nightly_{site} for {run_date}")
    conf: dict[str, Any] = {"run_date": run_date.isoformat(), "force": force, "dry_run": dry_run}
    conf |= {f"choose_{model}": choice for model, choice in choices.items()} | ({"reason": reason} if choices else {})
    # the demo's data end in 2018: its schedule stays off, or it would fail every real night
    night.follow(environment, site, conf, screen.console, keep_schedule=site != DEMO)
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
    """Run every test; further arguments go to pytest.

    \b
    Examples:
      python -m jobs test
      python -m jobs test tests/models -x
    """
    beside = ["-n", "2", "--no-loadscope-reorder"]  # tests/conftest.py says what goes together
    command = [sys.executable, "-m", "pytest", *(context.args or beside)]
    one_thread = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # trainings side by side wait for each other
    raise typer.Exit(subprocess.call(command, cwd=ROOT, env=os.environ | one_thread))


@app.command()
def load(
    site: SiteName,
    folder: Annotated[Path, typer.Option("--from", help="folder with users, items, interactions, exposures")],
) -> None:
    """Load .parquet or .csv tables, all or nothing. They become the site's raw schema.

    \b
    Examples:
      python -m jobs load --site shop --from data
    """
    from jobs.tables import load as loader

    environment = Environment.load()
    settings = find_site(site, environment.sites)
    if not (os.environ.get("WAREHOUSE_URL") or services.running(environment)["postgres"]):
        environment = services.up(environment, _say)
    loader.load_folder(settings, folder, environment, screen)
    _say(f"loaded {folder} into {settings.warehouse.raw_schema}")


@app.command()
def status(site: SiteName = DEMO, as_json: AsJson = False) -> None:
    """What is published, and the versions before it.

    \b
    Examples:
      python -m jobs status --site shop
      python -m jobs status --site shop --json
    """
    from jobs.runtime import answers
    from jobs.tables import versions

    environment = Environment.load()
    settings = find_site(site, environment.sites)
    rows = versions.status(settings, environment)
    headline, cells = answers.status_words(settings, rows)
    if as_json:
        _json(rows)
    if not cells:
        raise NightliftError(headline)
    if not as_json:
        _say(headline)
        screen.table(answers.STATUS_HEAD, cells)
        if len(cells) > 1:
            _say(f"the version before, again: python -m jobs rollback --site {site}")


@app.command()
def rollback(site: SiteName = DEMO, version: Annotated[str, typer.Option(help="default: the one before")] = "") -> None:
    """Publish an earlier version again.

    \b
    Examples:
      python -m jobs rollback --site shop
      python -m jobs rollback --site shop --version 0123456789abcdef
    """
    from jobs.runtime import answers
    from jobs.tables import versions

    environment = Environment.load()
    settings = find_site(site, environment.sites)
    moved = versions.rollback(settings, environment, version or None)
    _say(
        f"published again: the night of {moved['run_date']}, version {moved['to']}, made by ranker"
        f" {moved['ranker_version']} and uplift model {moved['uplift_version'] or 'none'};"
        f" readers saw {moved['from']} before"
    )
    screen.table(answers.STATUS_HEAD, answers.status_words(settings, versions.status(settings, environment))[1])
    _say("the champion aliases in MLflow stay where they are; the next night that publishes moves them")


@app.command()
def explain(
    user: Annotated[str, typer.Option(help="id of the user")], site: SiteName = DEMO, as_json: AsJson = False
) -> None:
    """Why a user is shown these items.

    \b
    Examples:
      python -m jobs explain --site shop --user user-0001
      python -m jobs explain --site shop --user user-0001 --json
    """
    from jobs.runtime import answers

    environment = Environment.load()
    settings = find_site(site, environment.sites)
    rows = answers.explain(settings, environment, user)
    if as_json:
        _json(rows)
        return
    headline, cells, notes = answers.explain_words(settings, user, rows)
    _say(headline)
    screen.table(answers.LIST_HEAD, cells)
    for note in [*notes, *answers.proved(settings, environment)]:
        _say(note)


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
    """Simulate nights whose effects are known. Tells what each policy adds, and whether intervals are honest.

    \b
    Examples:
      python -m jobs simulate --nights 10 --seeds 2
      python -m jobs simulate --scenario null --policies adjusted,random --plot null.png
    """
    from jobs import simulate as simulator
    from jobs.models import simulation_results
    from jobs.runtime import simulation_page

    chosen, names = simulator.parse(scenario, policies)
    if plot:
        simulation_page.check(plot)
    worlds = range(first_seed, first_seed + seeds)
    with screen.track(f"{scenario} worlds", len(names) * seeds, "lives") as advance:
        rows = simulator.simulate_all(chosen, names, worlds, nights, advance)
    found = simulation_results.figures(rows, simulator.drift_after(chosen, nights))
    if document:
        document.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if plot:
        simulation_page.save(found, plot)
    for sentence in simulation_results.sentences(found):
        _say(sentence)


@app.command("airflow", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def airflow_command(context: typer.Context) -> None:
    """Airflow's own command line on the services of this machine.

    \b
    Examples:
      python -m jobs airflow dags list
      python -m jobs airflow backfill create --dag-id nightly_shop --from-date 2024-03-01 --to-date 2024-03-03 --dry-run
    """
    given = services.airflow_environment(Environment.load())
    raise typer.Exit(subprocess.call([sys.executable, "-m", "airflow", *context.args], cwd=ROOT, env=given))


@app.command("postgres", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def postgres_command(context: typer.Context) -> None:
    """A program of PostgreSQL itself. The databases are warehouse, airflow and mlflow.

    \b
    Examples:
      python -m jobs postgres psql
      python -m jobs postgres pg_dump --format custom --file warehouse.dump warehouse
    """
    if not context.args:
        raise SetupError("which program? psql, pg_dump and pg_restore are among them; see --help")
    program, given = services.postgres_program(Environment.load(), context.args[0])
    raise typer.Exit(subprocess.call([program, *context.args[1:]], env=given))


@app.command("warehouse-url")
def warehouse_url() -> None:
    """The libpq URL of the warehouse.

    \b
    Examples:
      psql "$(python -m jobs warehouse-url)"
    """
    typer.echo(Environment.load().warehouse_url)


def main(words: Sequence[str] | None = None) -> None:
    """The command line; an error is one line on stderr and its exit code, the traceback stands behind --debug."""
    given = list(sys.argv[1:] if words is None else words)
    if "--debug" in given and given[0] != "test":  # pytest has a --debug of its own
        given.remove("--debug")
        os.environ["NIGHTLIFT_DEBUG"] = "1"
    try:
        sys.exit(app(given, prog_name="python -m jobs", standalone_mode=False) or 0)
    except NightliftError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # the words of the command line
        _fail(f"{error.format_message().rstrip('.')}; see `python -m jobs --help`", error.exit_code)
    except typer.Abort:
        _fail("stopped", 1)
    except Exception as error:  # what nobody foresaw is one line, too
        said = next(iter(str(error).splitlines()), "")
        _fail(f"{type(error).__name__}: {said}; the same command with --debug shows where", 1)


def _fail(line: str, code: int) -> NoReturn:
    if os.environ.get("NIGHTLIFT_DEBUG"):
        traceback.print_exc()
    print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SetupError(f"--date {text!r} is not a day; write it as YYYY-MM-DD") from None


def _say(text: str) -> None:
    screen.say(text)


def _summary(site: Any, environment: Environment, run_date: date) -> None:
    from jobs.runtime import answers

    found = answers.night(site, environment, run_date)
    top, beside = answers.night_words(found)
    _say(f"published {found['version_id']}: {found['rows']} rows, checksum {found['checksum']}")
    _say(f"top ten of user {found['user_id']}")
    screen.table(answers.LIST_HEAD, top)
    _say("relevance list beside the adjusted list")
    screen.table(("place", "by relevance", "adjusted"), beside)


def _addresses(environment: Environment, site: str = "", day: date | None = None) -> None:
    for label, address in services.addresses(environment, site, day).items():
        _say(f"{label}: {address}")


def _json(rows: Sequence[dict[str, Any]]) -> None:
    typer.echo(json.dumps(list(rows), default=str, indent=2))
