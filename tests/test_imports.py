"""Imports point one way: dags -> plugins -> names of jobs; job -> tables, transforms, models, runtime."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RULES = {
    "jobs": {"airflow", "nightlift"},
    "dags": {"pyspark", "mlflow", "causalml", "great_expectations"},
    "plugins": {"pyspark", "mlflow", "causalml", "great_expectations"},
    "jobs/models": {"pyspark", "airflow"},
}
LIGHT = {
    f"jobs.runtime.{name}"
    for name in ("environment", "errors", "figure_words", "pages", "proof_words", "result", "site")
}
HEAVY = {"pyspark", "mlflow", "causalml", "great_expectations", "xgboost", "matplotlib"}


def imported(path: Path) -> set[str]:
    """Full names a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages = {
                "jobs.runtime",
                "jobs.tables",
                "jobs.transforms",
            }  # `from package import module` imports the module
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names.update(whole if node.module in packages else [node.module])
    return names


@pytest.mark.parametrize("folder", RULES)
def test_folder_never_imports_what_is_not_its_own(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {(path.name, name) for path in files for name in imported(path) if name.split(".")[0] in RULES[folder]}
    assert not wrong


@pytest.mark.parametrize("folder", ["dags", "plugins"])
def test_airflow_side_imports_only_light_modules_of_jobs(folder: str) -> None:
    names = {name for path in (ROOT / folder).rglob("*.py") for name in imported(path)}
    mart = {"jobs.tables.mart"} if folder == "plugins" else set()
    assert {name for name in names if name.split(".")[0] == "jobs"} <= LIGHT | mart


def test_what_the_effects_page_imports_is_light() -> None:
    code = f"import sys, nightlift.page; print(*sorted({HEAVY!r} & set(sys.modules)))"
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "plugins"))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].strip() == ""


def test_only_the_plugin_itself_is_loaded_in_every_process() -> None:
    code = "import sys, nightlift.plugin; print(*sorted(name for name in sys.modules if name.startswith('nightlift.')))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["nightlift.plugin"]


def test_transforms_import_pyspark_and_contracts_only() -> None:
    files = list((ROOT / "jobs" / "transforms").rglob("*.py"))
    assert files
    third_party = {
        "airflow",
        "mlflow",
        "causalml",
        "xgboost",
        "great_expectations",
        "psycopg",
        "adbc_driver_postgresql",
    }
    for path in files:
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & third_party, path
        own = {name for name in names if name.startswith("jobs.")}
        allowed = ("jobs.transforms", "jobs.tables.contracts", "jobs.tables.schema")
        assert all(name.startswith(allowed) for name in own), (path, own)
