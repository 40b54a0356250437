"""`make compose-up` without an engine: its secrets, and when it calls a container up."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from deploy import up
from tests.test_compose import COMPOSE

CHANGED_OWNER = os.geteuid() in (0, up.OURS)
needs_owner = pytest.mark.skipif(not CHANGED_OWNER, reason="only root or the containers' user can own the secrets")


@needs_owner
def test_every_secret_of_the_file_is_made_once_at_random_and_for_its_reader_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert set(up.make_secrets(folder)) == set(COMPOSE["secrets"])
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert up.make_secrets(folder) == []
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert set(up.make_secrets(tmp_path / "other")) == set(first)
    assert all((tmp_path / "other" / name).read_text() != text for name, text in first.items())
    assert all(len(text.strip()) >= 24 for text in first.values())
    assert first["pgpass"] == f"postgres:5432:*:*:{first['postgres_password']}\n"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes.pop("postgres_password") == 0o444
    assert set(modes.values()) == {0o400}
    assert {path.stat().st_uid for path in folder.iterdir()} == {up.OURS}


@needs_owner
def test_a_secret_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "postgres_password").write_text("mine")
    assert "postgres_password" not in up.make_secrets(tmp_path)
    assert (tmp_path / "pgpass").read_text() == "postgres:5432:*:*:mine\n"


def test_somebody_else_is_told_who_must_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(up.CannotComeUp, match="4321; run it once as root"):
        up.make_secrets(tmp_path)
    assert list(tmp_path.iterdir()) == []


def container(status: str, health: str = "", code: int = 0, restart: str = "unless-stopped") -> dict[str, Any]:
    state = {"Status": status, "ExitCode": code} | ({"Health": {"Status": health}} if health else {})
    return {"Name": "/one", "State": state, "HostConfig": {"RestartPolicy": {"Name": restart}}}


@pytest.mark.parametrize(
    ("shown", "is_up"),
    [
        (container("running", "healthy"), True),
        (container("running", "starting"), False),
        (container("running", "unhealthy"), False),
        (container("running"), False),
        (container("restarting", "unhealthy", 1), False),
        (container("exited", "healthy"), False),
        (container("created"), False),
        (container("exited", restart="no"), True),
        (container("running", restart="no"), False),
        (container("created", restart="no"), False),
    ],
)
def test_a_service_is_up_when_healthy_and_a_one_shot_when_it_ended(shown: dict[str, Any], is_up: bool) -> None:
    assert up.waiting_for([shown]) == ([] if is_up else ["one"])


def test_a_one_shot_that_failed_is_not_waited_for() -> None:
    with pytest.raises(up.CannotComeUp, match="one ended with 3"):
        up.waiting_for([container("exited", code=3, restart="no")])
