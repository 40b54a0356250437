"""The README's pictures, really taken of the night: each is there, as large as it should be, and shows something."""

import re
from pathlib import Path

import pytest
from PIL import Image

from docs import screenshots
from jobs.runtime import cli
from tests.e2e import person
from tests.e2e.conftest import ROOT, Night

pytestmark = pytest.mark.skipif(person.chromium() is None, reason=person.MISSING)
SIZES = {"dag": (1920, 690), "command_line": (1280, None)}  # of the others 1920 x 1200; None: as long as its text


def shown(picture: Image.Image) -> float:
    """Share of the pixels that are not of the most common colour."""
    counts = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert counts is not None
    return 1.0 - max(count for count, _ in counts) / (picture.width * picture.height)


def test_every_picture_of_the_readme_is_taken_of_a_running_night(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTLIFT_HOME", str(night.folder / "home"))
    monkeypatch.setenv("NIGHTLIFT_SITES", str(night.folder / "my-shop" / "sites"))
    monkeypatch.setattr(screenshots, "IMAGES", tmp_path)
    monkeypatch.setattr(cli, "screen", cli.screen)  # the pictures' own is gone after them
    screenshots.main(["--site", "corner", "--date", "2024-03-04", "--user", "user-0001"])
    pictures = {file.stem: Image.open(file) for file in tmp_path.glob("*.png")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(pictures) == set(re.findall(r"docs/images/(\w+)\.png", readme))
    for name, picture in pictures.items():
        width, height = SIZES.get(name, (1920, 1200))
        assert picture.size == (width, height or picture.height), name
        assert shown(picture) > 0.02, f"{name} is blank"


def test_a_blank_picture_is_seen() -> None:
    blank = Image.new("RGB", (40, 30), "white")
    assert shown(blank) == 0.0
    blank.paste("black", (0, 0, 20, 30))
    assert shown(blank) == 0.5
