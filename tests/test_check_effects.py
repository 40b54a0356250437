"""The gate passes sound effects; each check alone can fail it, and failing is a decision, not an error."""

from copy import deepcopy
from typing import Any

import pytest

from jobs import check_effects
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.runtime.site import Effects
from jobs.tables.lake import Lake

SOUND: dict[str, Any] = {
    "version": "1",
    "metrics": {
        "qini": {"value": 0.02, "low": 0.01, "high": 0.03},
        "identified_share": {"value": 0.6, "low": None, "high": None},
    },
    "refutations": {
        "estimate": {"value": 0.05, "low": 0.04, "high": 0.06},
        "placebo": {"value": 0.001, "low": -0.004, "high": 0.006},
        "random_subset": {"value": 0.049, "low": 0.03, "high": 0.07, "stable": True},
        "random_common_cause": {"value": 0.051, "low": 0.04, "high": 0.06, "stable": True},
    },
    "champion": {"missing": "there is no champion", "qini": None},
    "model_uri": "models:/shop-uplift/1",
    "sha256": "a" * 64,
}
BROKEN = [
    ("placebo", ("refutations", "placebo", "low"), 0.0005),
    ("placebo", ("refutations", "placebo", "high"), -0.0005),
    ("identified_share", ("metrics", "identified_share", "value"), 0.19),
    ("qini", ("metrics", "qini", "low"), 0.0),
    ("random_subset", ("refutations", "random_subset", "stable"), False),
    ("random_common_cause", ("refutations", "random_common_cause", "stable"), False),
]


def broken(path: tuple[str, str, str], value: object) -> dict[str, Any]:
    record = deepcopy(SOUND)
    group, name, field = path
    record[group][name][field] = value
    return record


def failing(record: dict[str, Any]) -> set[str]:
    return {check["name"] for check in check_effects.checks(record, Effects()) if not check["passed"]}


def test_sound_effects_pass_every_check() -> None:
    assert failing(SOUND) == set()
    assert {check["name"] for check in check_effects.checks(SOUND, Effects())} == {name for name, _, _ in BROKEN}


@pytest.mark.parametrize(("name", "path", "value"), BROKEN)
def test_each_check_fails_alone_on_what_it_is_for(name: str, path: tuple[str, str, str], value: object) -> None:
    assert failing(broken(path, value)) == {name}


def test_identified_share_is_the_sites_own_bound() -> None:
    (check,) = (c for c in check_effects.checks(SOUND, Effects(min_identified_share=0.61)) if not c["passed"])
    assert (check["name"], check["value"], check["threshold"]) == ("identified_share", 0.6, 0.61)


def test_a_check_of_an_effect_is_told_in_points_with_the_level_of_its_interval() -> None:
    told = {check["name"]: check_effects.told(check) for check in check_effects.checks(SOUND, Effects())}
    assert told == {
        "placebo": "+0.10 pp (99 % interval -0.40 to +0.60 pp)",
        "identified_share": "0.6000",
        "qini": "0.0200 (90 % interval 0.0100 to 0.0300)",
        "random_subset": "+4.90 pp (90 % interval +3.00 to +7.00 pp)",
        "random_common_cause": "+5.10 pp (90 % interval +4.00 to +6.00 pp)",
    }


@pytest.mark.parametrize(("record", "passed"), [(SOUND, True), (broken(*BROKEN[3][1:]), False)])
def test_the_decision_is_written_and_a_failed_gate_is_no_error(
    job: JobArgs, capsys: pytest.CaptureFixture[str], record: dict[str, Any], passed: bool
) -> None:
    lake = Lake(job)
    lake.write_json("uplift", record)
    lake.write_json("diagnosis", {"warnings": ["AIPW and IPW disagree"]})
    assert check_effects.main(["--site", job.site.site, "--date", job.date.isoformat()]) == 0
    decision, said = lake.read_json("effects_gate"), capsys.readouterr().out
    assert decision["passed"] is passed
    assert ("EFFECTS GATE FAILED" in said) is not passed
    assert decision["warnings"] == ["AIPW and IPW disagree"] and "warn  AIPW and IPW disagree" in said
    chosen = lake.read_json("chosen_uplift")
    assert (chosen["version"], chosen["champion"]) == ("1", None), "without effects the challenger's are shown"
    assert chosen["decision"]["chosen"] == ("challenger" if passed else "relevance")
    assert chosen["metrics"]["uplift_promoted"]["value"] == passed


@pytest.mark.parametrize("share", [1.0, 0.6, 0.2])
def test_pairs_without_overlap_are_no_failed_gate_as_long_as_enough_is_identified(share: float) -> None:
    assert failing(broken(("metrics", "identified_share", "value"), share)) == set()


HELD = {"version": "7", "model_uri": "models:/shop-uplift/7", "sha256": "c" * 64, "missing": ""}


@pytest.mark.parametrize(("low", "version", "chosen"), [(0.001, "7", "champion"), (-0.001, "1", "relevance")])
def test_behind_a_closed_gate_a_champion_that_still_holds_ranks_the_lists(
    job: JobArgs, capsys: pytest.CaptureFixture[str], low: float, version: str, chosen: str
) -> None:
    champion = HELD | {"qini": {"value": 0.01, "low": low, "high": 0.02}}
    lake = Lake(job)
    lake.write_json("uplift", broken(*BROKEN[0][1:]) | {"champion": champion})
    lake.write_json("diagnosis", {"warnings": []})
    assert check_effects.main(["--site", job.site.site, "--date", job.date.isoformat()]) == 0
    found = lake.read_json("chosen_uplift")
    assert (found["version"], found["decision"]["chosen"], found["champion"]) == (version, chosen, "7")
    assert found["sha256"] == ("c" if version == "7" else "a") * 64
    assert found["metrics"]["champion_qini"]["low"] == low
    assert ("EFFECTS GATE FAILED" in capsys.readouterr().out) is (chosen == "relevance")
    assert "failed placebo" in found["decision"]["said"]


def test_a_person_overrules_the_gate_with_a_reason_that_is_recorded(
    job: JobArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTLIFT_DAG_RUN", "manual__7")
    lake = Lake(job)
    lake.write_json("uplift", SOUND)
    lake.write_json("diagnosis", {"warnings": []})
    night = ["--site", job.site.site, "--date", job.date.isoformat()]
    assert check_effects.main([*night, "--choose-uplift", "relevance", "--reason", "a sale began"]) == 0
    found = lake.read_json("chosen_uplift")
    assert found["decision"]["chosen"] == "relevance" and found["decision"]["reason"] == "a sale began"
    assert "by a person (DAG run manual__7): a sale began" in found["decision"]["said"]
    assert found["metrics"]["uplift_overridden"]["value"] == 1.0
    with pytest.raises(DataError, match="'champion' cannot be had tonight"):
        check_effects.main([*night, "--choose-uplift", "champion", "--reason", "I liked it"])
