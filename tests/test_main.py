"""The command line: one line an error, and its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime import bootstrap

ROOT = Path(__file__).resolve().parents[1]


def call(*words: str, home: Path, **given: str) -> subprocess.CompletedProcess[str]:
    unset = {"WAREHOUSE_URL", "NIGHTLIFT_SITES", "NIGHTLIFT_DEBUG"}
    env = {key: value for key, value in os.environ.items() if key not in unset} | {"NIGHTLIFT_HOME": str(home)} | given
    return subprocess.run([sys.executable, "-m", "jobs", *words], cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--date", "yesterday"], "is not a day"),
        (["run", "--site", "nowhere"], "no site 'nowhere'"),
        (["warehouse-url"], "run `make up`"),
    ],
)
def test_setup_error_is_one_line_and_exit_code_3(words: list[str], said: str, tmp_path: Path) -> None:
    done = call(*words, home=tmp_path / "home")
    assert done.returncode == 3
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_graph_that_does_not_identify_the_effect_is_refused_before_anything_starts(tmp_path: Path) -> None:
    graph = "{edges: [shown -> outcome, taste -> shown, taste -> outcome, item_price -> shown], latent: [taste]}"
    site = f"site: shop\noutcome: {{event_types: [purchase]}}\neffects:\n  graph: {graph}\n"
    (tmp_path / "shop.yaml").write_text(site, encoding="utf-8")
    done = call("run", "--site", "shop", home=tmp_path / "home", NIGHTLIFT_SITES=str(tmp_path))
    assert done.returncode == 3 and "shown <- taste -> outcome stays open" in done.stderr
    assert not (tmp_path / "home" / "services.json").exists()


def test_missing_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.CannotSetUp, match="install Java 17"):
        bootstrap.check_java()


@pytest.mark.parametrize(
    ("said", "told"), [("No space left on device", "disk is full"), ("dns error", "registry cannot be reached")]
)
def test_failed_install_says_what_to_do(said: str, told: str) -> None:
    with pytest.raises(bootstrap.CannotSetUp, match=told):
        bootstrap._run([sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"], "install uv")
