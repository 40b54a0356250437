"""`make compose-up`: secrets that are missing, then all services of docker-compose.yaml, until every one is healthy.

Standard library only: the machine needs Docker, docker-compose 1.29 or Compose v2, and this Python, nothing of ours.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = 1000  # the user of the image; PostgreSQL's is another one
PATIENCE = 900.0  # seconds: a slow machine migrates for minutes


class CannotComeUp(Exception):
    """One line that says what, where and what to do."""


def make_secrets(folder: Path) -> list[str]:
    """Write the secrets that are missing with random values; returns their names.

    The folder is private to its owner. libpq wants a ``pgpass`` that nobody but its reader may read; PostgreSQL's
    password must be readable by a user the host need not know.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    password: Callable[[], str] = lambda: secrets.token_urlsafe(24)  # noqa: E731
    makers: dict[str, tuple[Callable[[], str], int]] = {
        "postgres_password": (password, 0o444),
        "airflow_admin_password": (password, 0o400),
        "jwt_secret": (lambda: secrets.token_urlsafe(64), 0o400),
        "api_secret_key": (lambda: secrets.token_urlsafe(64), 0o400),
        "fernet_key": (lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(), 0o400),
        "pgpass": (lambda: f"postgres:5432:*:*:{(folder / 'postgres_password').read_text()}\n", 0o400),
    }
    made = [name for name in makers if not (folder / name).exists()]
    if made and os.geteuid() not in (0, OURS):
        raise CannotComeUp(
            f"{folder}: the user of the containers, {OURS}, must own the secrets and you are {os.geteuid()};"
            " run it once as root"
        )
    for name in made:
        make, mode = makers[name]
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as out:
            out.write(make())
        (folder / name).chmod(mode)
        if os.geteuid() == 0:
            os.chown(folder / name, OURS, OURS)
    return made


def compose() -> list[str]:
    """The command: Compose v2 where Docker has it, else docker-compose."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            if not subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
                return command
        except FileNotFoundError:
            continue
    raise CannotComeUp("neither `docker compose` nor docker-compose runs here: install Docker with Compose")


def waiting_for(containers: Iterable[dict]) -> list[str]:
    """Names of the containers that are not up yet, from `docker inspect`; CannotComeUp for one that never will be.

    A service is up when it is healthy; a one-shot one, which restarts never, when it has ended with 0.
    """
    not_yet = []
    for container in containers:
        name, state = container["Name"].lstrip("/"), container["State"]
        once = container["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")
        if state["Status"] == "exited" and once and state["ExitCode"]:
            raise CannotComeUp(f"{name} ended with {state['ExitCode']}; look at `docker logs {name}`")
        if once:
            up = state["Status"] == "exited"
        else:
            up = state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy"
        if not up:
            not_yet.append(name)
    return not_yet


def wait(command: list[str], seconds: float) -> None:
    """Wait until every container is up; CannotComeUp names those that are not when the time is over."""
    end = time.monotonic() + seconds
    while True:
        found = subprocess.run([*command, "ps", "--all", "-q"], cwd=ROOT, capture_output=True, text=True, check=True)
        ids = found.stdout.split()
        if not ids:
            raise CannotComeUp("no container was made; look at the lines above")
        shown = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
        left = waiting_for(json.loads(shown.stdout))
        if not left:
            return
        if time.monotonic() > end:
            raise CannotComeUp(f"not healthy after {seconds:.0f} s: {', '.join(left)}; look at `docker logs {left[0]}`")
        time.sleep(3)


def main() -> int:
    """Secrets, images, containers, health."""
    try:
        for name in make_secrets(ROOT / "secrets"):
            print(f"made secrets/{name}")
        command = compose()
        # one image for all: built by one service, or 1.29 builds it once for each
        for step in (["build", "mlflow"], ["up", "--no-build", "--detach"]):
            if subprocess.run([*command, *step], cwd=ROOT, check=False).returncode:
                raise CannotComeUp(f"`{' '.join([*command, *step])}` failed; look at the lines above")
        wait(command, PATIENCE)
    except CannotComeUp as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("all services are healthy; Airflow's password of admin is in secrets/airflow_admin_password")
    return 0


if __name__ == "__main__":
    sys.exit(main())
