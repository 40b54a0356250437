"""The pages made from the code say what the code says."""

from pathlib import Path

import pytest

from docs import reference

DOCS = Path(reference.__file__).parent


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_is_what_the_code_makes(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == reference.PAGES[name](), "run `make docs` and commit the page"


def test_every_key_of_a_site_has_a_meaning() -> None:
    rows = [line.split(" | ") for line in reference.site().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert not [row[0] for row in rows if not row[-1].rstrip(" |")]
