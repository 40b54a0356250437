"""A site file with every kind of mistake: one line that names the file and the key, before anything runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from jobs.runtime.errors import SetupError
from jobs.runtime.site import Site, load_site

GOOD = "site: shop\noutcome: {event_types: [buy]}\n"
MISTAKES = {
    "two documents": (GOOD + "---\n" + GOOD, "not YAML"),
    "a tab": ("site: shop\noutcome:\n\tevent_types: [buy]\n", "not YAML"),
    "an open bracket": ("site: shop\noutcome: {event_types: [buy\n", "not YAML"),
    "a day there is not": (GOOD + "drift: {since: 2024-13-45}\n", "not YAML: month must be in 1..12"),
    "a number too long": (GOOD + f"seed: {'9' * 5000}\n", "not YAML"),
    "nesting without end": ("[" * 20_000, "not YAML"),
    "a mapping of itself": ("&a\nsite: *a\n", "not YAML"),
    "a Python object": (GOOD + "clean: !!python/object/apply:os.system [id]\n", "not YAML"),
    "a control character": (GOOD + "domain: \x07\n", "not YAML"),
    "nothing": ("", "a site file is a mapping"),
    "a list": ("- site: shop\n", "a site file is a mapping"),
    "a key twice": (GOOD + "list_length: 5\nlist_length: 50\n", "key 'list_length' comes twice"),
    "an inner key twice": (GOOD + "ranker: {rounds: 5, rounds: 50}\n", "key 'rounds' comes twice"),
    "no outcome": ("site: shop\n", "outcome: Field required"),
    "no name": ("outcome: {event_types: [buy]}\n", "site: Field required"),
    "another name": (GOOD.replace("shop", "store"), "site: is 'store', but the file is named 'shop'"),
    "a name with SQL": ("site: 'shop; drop table x'\noutcome: {event_types: [buy]}\n", "site: String should match"),
    "an unknown key": (GOOD + "wat: 1\n", "wat: unknown key"),
    "an unknown key of two lines": (GOOD + '"wat\\nwhy": 1\n', "wat why: unknown key"),
    "an unknown inner key": (GOOD + "effects: {learners: t}\n", "effects.learners: unknown key"),
    "text for a number": (GOOD + "list_length: '20'\n", "list_length: Input should be a valid integer"),
    "yes for a number": (GOOD + "list_length: yes\n", "list_length: Input should be a valid integer"),
    "a fraction of a place": (GOOD + "list_length: 2.5\n", "list_length: Input should be a valid integer"),
    "a number for text": (
        "site: shop\noutcome: {event_types: [1]}\n",
        "outcome.event_types.0: Input should be a valid",
    ),
    "text for a list": ("site: shop\noutcome: {event_types: buy}\n", "outcome.event_types: Input should be a valid"),
    "an empty list": ("site: shop\noutcome: {event_types: []}\n", "outcome.event_types: Tuple should have at least 1"),
    "nothing for a section": (GOOD + "ranker:\n", "ranker: "),
    "no number": (GOOD + "feedback: {like: .nan}\n", "feedback.like: Input should be a finite number"),
    "no end": (GOOD + "clean: {max_value: .inf}\n", "clean.max_value: Input should be a finite number"),
    "more than all": (GOOD + "holdout_share: 1.01\n", "holdout_share: Input should be less than or equal to 1"),
    "less than none": (GOOD + "late_days: -1\n", "late_days: Input should be greater than or equal to 0"),
    "a choice there is not": (GOOD + "domain: casino\n", "domain: Input should be 'ecommerce'"),
    "minute 61": (GOOD + "schedule: 61 2 * * *\n", "schedule: must be a cron expression"),
    "hour 24": (GOOD + "schedule: 0 24 * * *\n", "schedule: must be a cron expression"),
    "a day of no name": (GOOD + "schedule: 0 2 * * someday\n", "schedule: must be a cron expression"),
    "every 0 minutes": (GOOD + "schedule: '*/0 2 * * *'\n", "schedule: must be a cron expression"),
    "a schema with a quote": (GOOD + "warehouse: {raw_schema: 'a\"b'}\n", "warehouse.raw_schema: String should match"),
    "a schema of PostgreSQL": (GOOD + "warehouse: {raw_schema: pg_catalog}\n", "warehouse: pg_... and information_"),
    "one schema for both": (GOOD + "warehouse: {raw_schema: a, mart_schema: a}\n", "warehouse: raw_schema and mart_"),
    "a value of no column": (
        "site: shop\noutcome: {event_types: [buy], value: revenue}\n",
        "outcome.value: Input should be 'value', 'quantity' or 'rating'",
    ),
    "two mistakes": (GOOD + "wat: 1\nlist_length: many\n", "list_length: .*; wat: unknown key"),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    """The line that refuses a site file."""
    with pytest.raises(SetupError) as caught:
        load_site(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, mistake: str) -> None:
    text, said = MISTAKES[mistake]
    path = write(tmp_path, text)
    with pytest.raises(SetupError, match=said):
        load_site(path)
    assert len(refused(path)) < 1000


@pytest.mark.parametrize(
    "mistake",
    [
        "password: SECRET\n",
        "warehouse: {password: SECRET}\n",
        "list_length: SECRET\n",
        "domain: SECRET\n",
        "schedule: SECRET\n",
        "warehouse: {raw_schema: SECRET}\n",
        "outcome: {event_types: [SECRET\n",
    ],
)
def test_a_secret_that_strayed_into_a_site_file_is_not_repeated(tmp_path: Path, mistake: str) -> None:
    assert "hunter" not in refused(write(tmp_path, GOOD + mistake.replace("SECRET", "'my hunter2'")))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("site: caf\xe9\n".encode("latin-1"))
    assert "not YAML" in refused(tmp_path / "latin.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot be read: Is a directory" in refused(tmp_path / "folder.yaml")
    assert "cannot be read: No such file" in refused(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("schedule", ["0 2 * * *", "*/15 0-6,12 1 jan-mar MON", "5 4 l * 7", "0,30 */2 1-31/2 * 1-5"])
def test_what_cron_understands_is_a_schedule(tmp_path: Path, schedule: str) -> None:
    assert load_site(write(tmp_path, GOOD + f"schedule: '{schedule}'\n")).schedule == schedule


def keys(model: type[BaseModel], *before: str) -> list[tuple[str, ...]]:
    """The path of every key below ``model``."""
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        found.append((*before, name))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys(field.annotation, *before, name)
    return found


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(path=st.sampled_from(keys(Site)), value=ANYTHING)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_value_of_any_key_is_taken_as_it_stands_or_refused_by_its_name(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str, ...], value: Any
) -> None:
    document: dict[str, Any] = {"site": "shop", "outcome": {"event_types": ["buy"]}}
    place = document
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    file = write(tmp_path_factory.getbasetemp(), yaml.safe_dump(document, allow_unicode=True))
    try:
        found: Any = load_site(file)
    except SetupError as error:
        assert "\n" not in str(error) and path[0] in str(error)
        return
    for name in path:
        found = getattr(found, name)
    if isinstance(value, (bool, int, float, str)):
        assert found == value and isinstance(found, bool) == isinstance(value, bool)


@given(text=st.text(max_size=200))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_text_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "shop.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = refused(path)
    assert said.startswith(f"{path}: ") and "\n" not in said
