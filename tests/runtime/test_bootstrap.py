"""A machine that lacks something gets one line that says what to do, and nothing half-made is believed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime import bootstrap
from jobs.runtime.environment import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that set-up reads, without an environment."""
    target = tmp_path / "clone"
    shutil.copytree(ROOT / "jobs", target / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    return target


def run(clone: Path, **environment: str) -> tuple[int, list[str]]:
    """Exit code and the lines of standard error of ``python -m jobs run`` with only this environment."""
    base = Path(sys.base_prefix) / "bin" / "python3"
    done = subprocess.run(
        [base, "-m", "jobs", "run"], cwd=clone, env={"HOME": str(clone), **environment}, capture_output=True, text=True
    )
    return done.returncode, done.stderr.strip().splitlines()


def test_missing_java_is_one_line_that_names_the_package(clone: Path) -> None:
    code, lines = run(clone, PATH="/nowhere")
    assert code == 3 and len(lines) == 1
    assert lines[0].startswith("error: Java is missing") and "openjdk-17" in lines[0]
    assert not (clone / ".venv").exists()


def test_a_missing_openmp_is_one_line_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.check_openmp()

    def gone(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(bootstrap.ctypes, "CDLL", gone)
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    with pytest.raises(bootstrap.CannotSetUp, match=r"libgomp is missing: .* apt-get install libgomp1"):
        bootstrap.ensure("run")


def test_registry_away_is_one_line_and_leaves_no_finished_mark(clone: Path) -> None:
    java = Path(shutil.which("java") or "/").parent
    away = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    code, lines = run(clone, PATH=f"{java}:/usr/bin:/bin", **away)
    assert code == 3
    assert "registry" in lines[-1] and lines[-1].startswith("error: cannot install uv")
    assert not (clone / ".venv" / ".nightlift-lock").exists()


def test_an_old_python_says_which_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (4, 0))
    monkeypatch.setattr(bootstrap, "NEWER", ("python4.0",))
    with pytest.raises(bootstrap.CannotSetUp, match=r"Python 3\.11 or newer is needed, this is 3\."):
        bootstrap.find_python()


def test_a_changed_group_of_packages_asks_for_a_new_set_up(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", str(clone))
    before = bootstrap._wanted_digest()
    (clone / "pyproject.toml").write_text((clone / "pyproject.toml").read_text() + "# another group\n")
    assert bootstrap._wanted_digest() != before
