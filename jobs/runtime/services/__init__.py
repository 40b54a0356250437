"""The services of one machine: PostgreSQL, MLflow, Spark and Airflow, started, kept and ended together."""

import contextlib
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from jobs.runtime import pages
from jobs.runtime.environment import Environment
from jobs.runtime.errors import AwayError, SetupError
from jobs.runtime.services import airflow, mlflow_server, postgres, spark_connect
from jobs.runtime.services.home import MARKER, Home, Say
from jobs.runtime.services.processes import listens, locked

__all__ = ["addresses", "airflow_environment", "clean", "postgres_program", "running", "spark_again", "stop", "up"]


def up(environment: Environment, say: Say = print, with_airflow: bool = True) -> Environment:
    """Start what does not run; healthy services are kept. Returns the environment with its addresses.

    An address given by the environment (MLFLOW_TRACKING_URI, AIRFLOW_CONN_SPARK_DEFAULT) is used instead of a service
    of our own. Raises SetupError that names the service and its log.
    """
    with locked(environment.home / ".lock"), _disk_errors(environment.home):
        home = Home.open(environment)
        home.taken = _ports_in_use(home)
        postgres.up(home, say)
        parts = []
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            parts.append(mlflow_server.up)
        if _own_spark():
            parts.append(spark_connect.up)
        else:
            home.end("spark")
            home.forget("spark_remote")
        if with_airflow:
            parts.append(airflow.up)
        with ThreadPoolExecutor(len(parts) or 1) as pool:
            starts = [pool.submit(part, home, say) for part in parts]
        home.save()
        for one in starts:
            one.result()

    return Environment.load()


def spark_again(environment: Environment, say: Say = print) -> str:
    """Address of the warm Spark, started anew where it was killed; AwayError where it was stopped meanwhile."""
    with locked(environment.home / ".lock"), _disk_errors(environment.home):
        home = Home.open(environment)
        if "spark_remote" not in home.record:
            raise AwayError(f"the services of {environment.home} were stopped; run `make up`")
        home.taken = _ports_in_use(home)
        spark_connect.up(home, say)
        home.save()
    return str(home.record["spark_remote"])


def stop(environment: Environment, say: Say = print) -> None:
    """End the services of this home; state is kept. Processes of others are never touched."""
    if not environment.home.exists():
        return
    with locked(environment.home / ".lock"):
        home = Home.open(environment)
        with ThreadPoolExecutor(6) as pool:
            ended = [name for names in pool.map(home.end, [*airflow.NAMES, "spark", "mlflow"]) for name in names]
        server = home.process("postgres")
        if server:
            os.kill(server.pid, signal.SIGINT)  # fast shutdown: sessions end, nothing is lost
            server.end(20.0)
            home.end("postgres")
            ended.append("postgres")
        home.record = {key: home.record[key] for key in ("ports", "pgdata") if key in home.record}
        home.save()
    say(f"stopped: {', '.join(ended)}" if ended else "nothing was running")


def clean(environment: Environment, say: Say = print) -> None:
    """Stop, then remove the state of this home: warehouse, lake, models, Airflow's history.

    Only a folder that Nightlift made itself is removed whole; raises SetupError for any other.
    """
    if not environment.home.exists():
        say(f"nothing to remove: {environment.home} does not exist")
        return
    if not (environment.home / MARKER).exists():
        raise SetupError(f"{environment.home} was not made by Nightlift; remove what you want removed by hand")
    stop(environment, say)
    elsewhere = Home.open(environment).record.get("pgdata")
    for folder in filter(None, [elsewhere and Path(elsewhere).parent, environment.home]):
        shutil.rmtree(folder, ignore_errors=True)
    say(f"removed {environment.home}")


def running(environment: Environment) -> dict[str, bool]:
    """Which services of this home run."""
    home = Home.open(environment)
    return {name: home.process(name) is not None for name in ("postgres", "mlflow", "spark", *airflow.NAMES)}


def addresses(environment: Environment, site: str = "", day: date | None = None) -> dict[str, str]:
    """Where people look: label and address, without secrets; pages that no night has written yet say so.

    With ``site`` and ``day`` also the pages of that night.
    """
    record = environment.services
    docs = environment.home / "docs"
    shown = {"all nights": docs / "index.html"}
    if site and day:
        shown |= {"Data Docs": pages.checks_page(docs, site, day), "report": pages.report_page(docs, site, day)}
    return {
        "Airflow": f"{record.get('airflow_url', 'not running')}  (user admin, password in "
        f"{environment.home / 'airflow-admin-password'})",
        "MLflow": environment.mlflow_page,
        **{
            label: page.as_uri() if page.exists() else f"no night has written {page} yet"
            for label, page in shown.items()
        },
    }


def airflow_environment(environment: Environment) -> dict[str, str]:
    """What Airflow's own command line is told; SetupError where Airflow does not run here."""
    home = Home.open(environment)
    if not home.process(airflow.API_SERVER):
        raise SetupError(f"no Airflow runs in {environment.home}; run `make up`")
    return home.environ(airflow.settings(home, home.port("airflow", airflow.PORT)))


def postgres_program(environment: Environment, name: str) -> tuple[str, dict[str, str]]:
    """A program of the embedded PostgreSQL, which is started where it does not run, and nothing else with it.

    SetupError where the warehouse is another server's: what is here would be taken for it.
    """
    if os.environ.get("WAREHOUSE_URL"):
        raise SetupError("WAREHOUSE_URL names another server: use the programs of that one, or unset it for this one's")
    with locked(environment.home / ".lock"), _disk_errors(environment.home):
        home = Home.open(environment)
        if not home.process("postgres"):
            postgres.up(home, lambda _: None)
    return postgres.program(home, name)


def _own_spark() -> bool:
    return not os.environ.get("SPARK_REMOTE") and not os.environ.get("AIRFLOW_CONN_SPARK_DEFAULT")


def _ports_in_use(home: Home) -> set[int]:
    """Ports of our own services that run: another service must not pick them."""
    return {port for name, port in home.record.get("ports", {}).items() if home.process(name) and listens(port)}


@contextlib.contextmanager
def _disk_errors(folder: Path):  # type: ignore[no-untyped-def]
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise SetupError(f"{error.filename or folder}: {what}; free space there or set NIGHTLIFT_HOME") from error
