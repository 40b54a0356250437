"""The tutorial can be followed as it stands; that it works, the end-to-end night shows."""

from pathlib import Path

import pytest
import yaml

from jobs.runtime.site import Site
from tests.e2e import tutorial


def test_the_page_has_files_commands_and_what_they_say() -> None:
    found = tutorial.steps(tutorial.PAGE.read_text(encoding="utf-8"))
    assert [step.path for step in found if step.kind == "file"] == ["my-shop/make_shop.py", "my-shop/sites/corner.yaml"]
    commands = [line for step in found if step.kind == "sh" for line in step.body.splitlines()]
    assert len(commands) == 6
    (site,) = [step.body for step in found if step.path.endswith(".yaml")]
    assert Site.model_validate(yaml.safe_load(site)).site == "corner"


def test_a_block_nobody_would_follow_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a file name"):
        tutorial.steps("```python\nprint(1)\n```\n")


def test_what_is_said_must_come_in_order() -> None:
    assert tutorial.said("one ... s\ntwo\n", "zero\none 1.5 s\nthree\ntwo\n") == []
    assert tutorial.said("two\none\n", "one\ntwo\n") == ["one"]


def test_a_failing_command_and_another_answer_are_found(tmp_path: Path) -> None:
    page = "```sh\nexport WHO=me\n```\n```sh\necho hello $WHO\n```\n```text\nhello {}\n```\n"
    tutorial.follow(page.format("me"), tmp_path, {})
    with pytest.raises(AssertionError, match="hello you"):
        tutorial.follow(page.format("you"), tmp_path, {})
    with pytest.raises(AssertionError, match="exit 3"):
        tutorial.follow("```sh\nexit 3\n```\n", tmp_path, {})
