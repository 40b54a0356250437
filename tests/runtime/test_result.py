"""What a job tells whoever started it."""

import json
from pathlib import Path

import pytest

from jobs.runtime import result


def test_later_values_replace_earlier_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(result.VARIABLE, str(tmp_path / "result.json"))
    result.record(note="one", rows={"a": 1})
    result.record(note="two")
    assert json.loads((tmp_path / "result.json").read_text()) == {"note": "two", "rows": {"a": 1}}


def test_a_job_started_by_hand_tells_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(result.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    result.record(note="one")
    assert list(tmp_path.iterdir()) == []
