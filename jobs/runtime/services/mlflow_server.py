"""The MLflow tracking server, on this machine only."""

import sys
from urllib.error import URLError
from urllib.request import urlopen

from jobs.runtime.services.home import Home, Say
from jobs.runtime.services.processes import LOCALHOST, free_port, once, start, wait_for

PORT = 5000


def healthy(home: Home) -> bool:
    """Whether the recorded server answers."""
    return home.process("mlflow") is not None and _answers(str(home.record.get("mlflow_uri")))


def up(home: Home, say: Say) -> None:
    """Upgrade its database once, then start it; processes that race on a fresh database break it for good."""
    if healthy(home):
        return
    home.end("mlflow")
    port = free_port(home.port("mlflow", PORT), home.taken, say, "MLflow")
    say(f"starting MLflow on {LOCALHOST}:{port}")
    log = home.log("mlflow")
    store = str(home.record["mlflow_database_url"]).replace("postgresql://", "postgresql+psycopg://", 1)
    env = home.environ(
        {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": store,
            "GIT_PYTHON_REFRESH": "quiet",
        }
    )
    env.pop("MLFLOW_TRACKING_URI", None)
    once([sys.executable, "-m", "mlflow", "db", "upgrade", store], log, env, home.path)
    artifacts = home.path / "mlartifacts"
    artifacts.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOCALHOST, "--port", str(port), "--workers", "1"]
    command += ["--serve-artifacts", "--artifacts-destination", artifacts.as_uri()]
    command += ["--allowed-hosts", f"{LOCALHOST}:{port},localhost:{port}"]
    process = start(command, log, env, home.path)
    home.keep("mlflow", process)
    address = f"http://{LOCALHOST}:{port}"
    wait_for(lambda: _answers(address), process, "MLflow", log, 120.0)
    home.record["mlflow_uri"] = address
    home.record.setdefault("ports", {})["mlflow"] = port


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError, ValueError):
        return False
