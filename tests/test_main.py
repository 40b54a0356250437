"""The command line: one line an error, and its exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
        (["airflow", "dags", "list"], "no Airflow runs"),
        (["postgres"], "which program?"),
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


COMMANDS = (
    "up", "stop", "clean", "run", "test", "load", "status", "rollback", "explain", "simulate", "airflow",
    "postgres", "warehouse-url",
)  # fmt: skip


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.runtime import cli

    listed = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert listed == set(COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        said = capsys.readouterr().out
        assert left.value.code == 0
        assert f"python -m jobs {command}" in said.split("Examples:")[1], said
        assert "\x1b" not in said and "╭" not in said


def test_the_list_of_commands_cuts_no_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.runtime import cli

    with pytest.raises(SystemExit):
        cli.main(["--help"])
    lines = capsys.readouterr().out.split("Commands:")[1].strip().splitlines()
    assert len(lines) == len(COMMANDS)
    assert not [line for line in lines if not line.endswith(".") or line.endswith("...")]


@pytest.mark.parametrize("nights", [1, 2])
def test_a_way_back_is_named_where_there_is_one(
    nights: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.runtime import cli
    from jobs.tables import versions

    monkeypatch.delenv("NIGHTLIFT_SITES", raising=False)
    version: dict[str, Any] = dict.fromkeys(("published_at", "dropped_at", "uplift_version"))
    version |= {"run_date": "2024-01-08", "version_id": "aaaaaaaa", "rows": 8, "ranker_version": "1", "verdict": "good"}
    monkeypatch.setattr(versions, "status", lambda *_: [version | {"published": night == 0} for night in range(nights)])
    with pytest.raises(SystemExit) as left:
        cli.main(["status"])
    said = capsys.readouterr().out
    assert left.value.code == 0 and "aaaaaaaa" in said
    assert ("python -m jobs rollback --site grocery" in said) == (nights == 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--wrong"], "No such option: --wrong"),
        (["explain"], "Missing option '--user'"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.runtime import cli

    with pytest.raises(SystemExit) as left:
        cli.main(words)
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert err.startswith(f"error: {said}") and len(err.splitlines()) == 1


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(
    place: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.runtime import cli

    monkeypatch.setenv("NIGHTLIFT_DEBUG", "")
    words = ["run", "--site", "nowhere"]
    with pytest.raises(SystemExit) as left:
        cli.main([*words[:place], "--debug", *words[place:]])
    err = capsys.readouterr().err
    assert left.value.code == 3
    assert "Traceback" in err and err.splitlines()[-1].startswith("error: no site 'nowhere'")


def test_what_nobody_foresaw_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.runtime import cli, services

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("nobody\nforesaw this")

    monkeypatch.setattr(services, "stop", break_down)
    monkeypatch.delenv("NIGHTLIFT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main(["stop"])
    err = capsys.readouterr().err
    assert left.value.code == 1
    assert err == "error: ZeroDivisionError: nobody; the same command with --debug shows where\n"
