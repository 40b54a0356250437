"""The pages as a person sees them after the first night, on a desk and on a phone."""

from collections.abc import Iterator

import pytest

from tests.e2e import person
from tests.e2e.conftest import Night

pytestmark = pytest.mark.skipif(person.chromium() is None, reason=person.MISSING)
WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[person.Browser]:
    with person.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def state(browser: person.Browser, night: Night) -> object:
    """What a browser keeps of a login."""
    page = browser.new_page()
    person.log_in(page, f"{night.address('airflow_url')}/nightlift/sites/corner", night.password)
    return page.context.storage_state()


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, browser: person.Browser, state: object) -> Iterator[person.Page]:
    """A logged-in window; what the page's own scripts complain about fails the test."""
    context = browser.new_context(
        viewport={"width": WIDTHS[request.param], "height": 900},
        storage_state=state,  # type: ignore[arg-type]
    )
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def test_from_the_site_to_a_users_lists_the_report_and_the_mlflow_run(
    page: person.Page, night: Night, first: tuple[object, ...]
) -> None:
    page.goto(f"{night.address('airflow_url')}/nightlift/")
    page.get_by_role("link", name="corner").click()
    person.expect(page.locator(".verdict").first).to_contain_text("Published is the night of 2024-03-04")
    assert person.too_wide(page) <= 0
    page.get_by_label("Why does a user get these items?").fill("user-000")
    page.get_by_role("button", name="Find user").click()
    page.get_by_role("link", name="user-0001", exact=True).click()
    person.expect(page.get_by_role("heading", name="User user-0001")).to_be_visible()
    for name in ("List by relevance", "List as published"):
        person.expect(page.get_by_role("region", name=name).locator("tbody tr")).to_have_count(5)
    assert person.too_wide(page) <= 0
    page.goto(f"{night.address('airflow_url')}/nightlift/sites/corner")
    page.get_by_role("link", name="Report").click()
    person.expect(page.get_by_role("heading", name="Roll back")).to_be_visible()
    assert person.too_wide(page) <= 0
    page.go_back()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="MLflow run").click()
    person.expect(opened.value.get_by_text("corner 2024-03-04").first).to_be_visible(timeout=30_000)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "sites/corner",
        "sites/corner/users?user=user-0001",
        "docs/reports/corner/2024-03-04.html",
        "docs/data_docs/corner/2024-03-04/index.html",
    ],
)
def test_axe_finds_nothing_serious(browser: person.Browser, state: object, night: Night, path: str) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, storage_state=state, bypass_csp=True)  # type: ignore[arg-type]
        page = context.new_page()
        answer = page.goto(f"{night.address('airflow_url')}/nightlift/{path}")
        assert answer is not None and answer.ok
        assert person.barriers(page) == [], scheme
        context.close()


def test_axe_finds_a_barrier_where_there_is_one(browser: person.Browser) -> None:
    page = browser.new_page()
    page.set_content("<html lang=en><title>t</title><main><h1>t</h1><img src='data:,'><input></main>")
    assert {finding.split(":")[0] for finding in person.barriers(page)} == {"image-alt", "label"}


def test_a_page_wider_than_its_window_is_seen(browser: person.Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_content("<div style='width: 400px'>wide</div>")
    assert person.too_wide(page) > 0
