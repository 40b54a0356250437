"""The compose file, read as a file: what may be reached from outside, as whom it runs, and where secrets come from."""

import importlib.util
import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WANTED = {
    "postgres",
    "mlflow",
    "spark-master",
    "spark-worker-1",
    "spark-worker-2",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
}
# Known to docker-compose 1.29, too, whose own schema no package ships that installs beside the lock.
KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "hostname", "image", "mem_limit"),
    *("networks", "ports", "read_only", "restart", "secrets", "security_opt", "tmpfs", "user", "volumes"),
}
SECRET_WORDS = re.compile(r"password|secret|token|fernet|api_key", re.IGNORECASE)


def test_every_part_of_the_night_is_a_service():
    assert set(SERVICES) >= WANTED


def test_every_key_is_known_to_old_compose():
    assert {name for name in COMPOSE if not name.startswith("x-")} == {"services", "networks", "volumes", "secrets"}
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name


def against_the_specification(document: dict[str, Any]) -> list[str]:
    """What the schema of the Compose Specification, as ``check-jsonschema`` ships it, has against a file."""
    found = importlib.util.find_spec("check_jsonschema")
    assert found and found.origin, "check-jsonschema is missing: pip install --no-deps check-jsonschema"
    place = Path(found.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    errors = validator_for(schema)(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def test_the_file_is_what_the_compose_specification_says():
    assert against_the_specification(COMPOSE) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.update(service={}), "'service' does not match"),
        (lambda file: file["services"]["mlflow"].update(mem_limits="1g"), "'mem_limits' was unexpected"),
        (lambda file: file["services"]["mlflow"].update(ports="5000:5000"), "is not of type 'array'"),
        (lambda file: file["services"]["mlflow"]["healthcheck"].update(every="15s"), "'every' does not match"),
        (lambda file: file["services"]["mlflow"]["depends_on"]["postgres"].update(condition="healthy"), "depends_on"),
        (lambda file: file["networks"]["inner"].update(internal=[]), "networks.inner.internal"),
    ],
)
def test_what_the_specification_does_not_know_is_seen(spoil: Callable[[dict[str, Any]], None], said: str):
    file = deepcopy(COMPOSE)
    spoil(file)
    assert said in str(against_the_specification(file))


def test_only_user_interfaces_have_ports_and_only_on_this_machine():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"mlflow", "spark-master", "airflow-apiserver"}
    for name, ports in published.items():
        assert all(str(port).startswith("127.0.0.1:") for port in ports), name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_not_root(name: str):
    service = SERVICES[name]
    tag = service["image"].partition(":")[2]
    assert re.search(r"\d+\.\d+", tag), f"{service['image']} is not pinned"
    assert not re.fullmatch(r"(0|root)(:.*)?", str(service["user"]))
    assert service["mem_limit"]
    assert "healthcheck" in service
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service and service.get("network_mode") != "host"
    assert service["read_only"] is True and any(place.split(":")[0] == "/tmp" for place in service["tmpfs"])


def test_only_services_with_a_port_leave_the_inner_network():
    assert COMPOSE["networks"]["inner"]["internal"] is True
    for name, service in SERVICES.items():
        assert ("ui" in service["networks"]) == ("ports" in service), name


def test_no_secret_has_a_value_in_the_file():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if SECRET_WORDS.search(key):
                assert key.endswith(("_FILE", "_CMD")) and "/run/secrets/" in value, f"{name}: {key}"
            assert not re.search(r"://[^/@\s]+:[^/@\s]+@", str(value)), f"{name}: {key} carries a password"
    assert COMPOSE["secrets"]
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_a_service_that_waits_for_health_waits_for_a_check_over_tcp():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            once = SERVICES[other]["restart"] == "no"
            assert how["condition"] == f"service_{'completed_successfully' if once else 'healthy'}", f"{name}: {other}"
    assert "--host" in SERVICES["postgres"]["healthcheck"]["test"], "the socket answers before the databases are made"


def test_an_executor_fits_its_worker_and_spills_to_disk():
    airflow, worker = (SERVICES[name]["environment"] for name in ("airflow-scheduler", "spark-worker-1"))
    assert airflow["SPARK_EXECUTOR_MEMORY"] == worker["SPARK_WORKER_MEMORY"]
    assert airflow["NIGHTLIFT_SHUFFLE_PARTITIONS"] == worker["NIGHTLIFT_SHUFFLE_PARTITIONS"]
    assert worker["SPARK_LOCAL_DIRS"].startswith("/var/lib/spark/"), "/tmp is memory"


def test_every_secret_that_is_asked_for_is_declared():
    asked = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert asked == set(COMPOSE["secrets"])


def test_the_environment_example_holds_no_secret_and_every_variable_of_the_file():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    assert not [name for name in names if SECRET_WORDS.search(name)]
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")))
    assert used == names


def test_the_image_is_pinned_and_not_root():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert bases and all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1].split(":")[0] not in {"0", "root"}


def test_the_image_has_every_system_package_that_set_up_asks_for():
    asked = re.findall(r"apt-get install ([\w.-]+)", (ROOT / "jobs/runtime/bootstrap.py").read_text(encoding="utf-8"))
    missing = set(asked) - {"python3-venv"}  # part of the base image's Python
    assert missing == {"openjdk-17-jre-headless", "libgomp1"}
    installed = re.search(r"apt-get install --yes --no-install-recommends (.+) \\", (ROOT / "Dockerfile").read_text())
    assert installed is not None and missing <= set(installed[1].split())
