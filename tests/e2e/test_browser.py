"""The pages as a person sees them after the first night, on a desk and on a phone."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, quote

import pytest
import requests

from tests.e2e import person
from tests.e2e.conftest import ROOT, Night

pytestmark = pytest.mark.skipif(person.chromium() is None, reason=person.MISSING)
MLFLOW = ROOT / "docs" / "mlflow.md"
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
        shown = page.get_by_role("region", name=name)
        person.expect(shown.locator("tbody tr")).to_have_count(5)
        assert shown.evaluate("list => list.scrollWidth - list.clientWidth") <= 0, f"the effects of {name} are cut off"
    assert person.too_wide(page) <= 0
    page.goto(f"{night.address('airflow_url')}/nightlift/sites/corner")
    page.get_by_role("link", name="Report").click()
    person.expect(page.get_by_role("heading", name="Roll back")).to_be_visible()
    assert person.too_wide(page) <= 0
    page.go_back()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="MLflow run").click()
    run = opened.value
    person.expect(run.get_by_role("heading", name="corner 2024-03-04")).to_be_visible(timeout=30_000)
    person.expect(run.get_by_role("link", name="Runs", exact=True).last).to_be_visible()
    person.expect(run.get_by_role("link", name=re.compile("^Evaluation"))).to_have_count(0)  # for language models


def test_the_search_of_the_docs_compares_nights_in_mlflow(page: person.Page, night: Night) -> None:
    (search,) = re.findall(r"`http://127.0.0.1:5000/#/experiments/1/(runs\?[^`]*)`", MLFLOW.read_text(encoding="utf-8"))
    server = night.address("mlflow_uri")
    found = requests.get(f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=corner", timeout=30).json()
    experiment = found["experiment"]["experiment_id"]
    page.goto(f"{server}/#/experiments/{experiment}/{search}")
    person.expect(page.get_by_text("corner 2024-03-04").first).to_be_visible(timeout=30_000)
    person.expect(page.get_by_text("uplift", exact=True)).to_have_count(0)  # a task's run
    (asked,) = parse_qs(search.partition("?")[2])["searchFilter"]
    wanted = {"experiment_ids": [experiment], "filter": asked}
    runs = requests.post(f"{server}/api/2.0/mlflow/runs/search", json=wanted, timeout=30).json()["runs"]
    names = {run["info"]["run_name"] for run in runs}
    assert "corner 2024-03-04" in names and all(name.startswith("corner ") for name in names)


def field(form: person.Locator, description: str) -> person.Locator:
    """The field of a form that has this description, which a person can read."""
    found = form.get_by_role("group").filter(has_text=description)
    person.expect(found).to_be_visible()
    return found


def test_the_form_sends_every_param_that_is_filled_in(page: person.Page, night: Night) -> None:
    dag = "/api/v2/dags/nightly_corner"
    night.airflow(dag, "PATCH", is_paused=True)  # a run that is sent waits
    try:
        form = person.form(page, f"{night.address('airflow_url')}/dags/nightly_corner", "2024-03-03")
        form.get_by_text("Unpause nightly_corner on trigger").click()
        field(form, "Nothing dated on or after this day is read.")
        field(form, "Do everything but publish.").locator("[data-part=control]").click()
        form.get_by_role("button", name="Overrule a gate").click()  # closes the section before
        field(form, "against the gate").get_by_role("combobox").click()
        page.get_by_role("option", name="relevance: nobody's effects").click()
        field(form, "Why a choice is made").get_by_role("textbox").fill("a sale began")
        sent = person.send(page, form)
        run = night.airflow(f"{dag}/dagRuns/{quote(sent, safe='')}")
        assert run["conf"] == {
            "run_date": "2024-03-03", "force": False, "dry_run": True, "choose_ranker": None,
            "choose_uplift": "relevance", "reason": "a sale began",
        }  # fmt: skip
        person.expect(person.state(page, sent)).to_have_text("Queued")
        night.airflow(f"{dag}/dagRuns/{quote(sent, safe='')}", "DELETE")
    finally:
        night.airflow(dag, "PATCH", is_paused=False)


def test_a_tasks_details_link_to_its_run_in_mlflow(page: person.Page, night: Night) -> None:
    run = night.airflow("/api/v2/dags/nightly_corner/dagRuns?order_by=run_after")["dag_runs"][0]
    name = quote(run["dag_run_id"], safe="")
    page.goto(f"{night.address('airflow_url')}/dags/nightly_corner/runs/{name}/tasks/train_uplift/details")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="MLflow run").click()
    person.expect(opened.value.get_by_role("heading", name="uplift", exact=True)).to_be_visible(timeout=30_000)
    told = f"/api/v2/dags/nightly_corner/dagRuns/{name}/taskInstances/train_uplift/xcomEntries/mlflow_run_id"
    assert night.airflow(told)["value"].strip('"') in opened.value.url  # Airflow keeps JSON


def test_in_airflows_navigation_the_page_has_its_colours_and_opens_links_outside_its_frame(
    browser: person.Browser, state: object, night: Night
) -> None:
    context = browser.new_context(color_scheme="light", storage_state=state)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{night.address('airflow_url')}/")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    page.get_by_role("link", name="Effects", exact=True).click()
    frame = page.frame_locator("iframe[title=Effects]")
    frame.get_by_role("link", name="corner").click()
    person.expect(frame.get_by_role("heading", name="Can it be trusted?")).to_be_visible()
    assert frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(15, 17, 21)"
    with page.expect_popup() as opened:
        frame.get_by_role("link", name="MLflow run").click()
    person.expect(opened.value.get_by_role("heading", name="corner 2024-03-04")).to_be_visible(timeout=30_000)
    context.close()


def ours(night: Night) -> dict[str, str]:
    """Addresses of every kind of page that is ours."""
    pages, checks = f"{night.address('airflow_url')}/nightlift", "docs/data_docs/corner/2024-03-04/index.html"
    paths = ("", "sites/corner", "sites/corner/users?user=user-0001", "docs/reports/corner/2024-03-04.html", checks)
    return {path: f"{pages}/{path}" for path in paths} | {
        "all nights": (night.folder / "home" / "docs" / "index.html").as_uri()
    }


def great_expectations(night: Night) -> dict[str, str]:
    """Of each kind of page that Great Expectations makes the longest."""
    docs = night.folder / "home" / "docs"
    kinds = {"results": "**/validations/**/*.html", "suite": "**/expectations/*.html"}
    made = {kind: list((docs / "data_docs" / "corner" / "2024-03-04").glob(names)) for kind, names in kinds.items()}
    longest = {kind: max(files, key=lambda file: file.stat().st_size) for kind, files in made.items()}
    pages = f"{night.address('airflow_url')}/nightlift/docs"
    return {kind: f"{pages}/{file.relative_to(docs).as_posix()}" for kind, file in longest.items()}


def test_no_page_of_a_night_is_wider_than_its_window(page: person.Page, night: Night) -> None:
    for name, address in (ours(night) | great_expectations(night)).items():
        page.goto(address)
        person.expect(page.get_by_role("heading").first).to_be_visible()
        assert person.too_wide(page) <= 0, name


def test_the_report_of_a_larger_shop_fits_its_window_a_tablet_and_paper(page: person.Page, night: Night) -> None:
    page.goto(ours(night)["docs/reports/corner/2024-03-04.html"])
    longer = {"effective trials": "12,345,678 and 12,345,678", "by relevance": "Bread (BAKERY::BREAD/ROLLS::SOURDOUGH)"}
    for start, text in longer.items():
        cells = page.locator(f"td[data-label^='{start}']")
        person.expect(cells.first).to_be_visible()
        cells.evaluate_all("(cells, text) => cells.forEach(cell => cell.textContent = text)", text)
    assert person.too_wide(page) <= 0
    for media, width in (("screen", 768), ("print", 718)):  # of A4 without its margins
        page.emulate_media(media=media)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        assert person.too_wide(page) <= 0, media


def test_axe_finds_nothing_serious(browser: person.Browser, state: object, night: Night) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, storage_state=state, bypass_csp=True)  # type: ignore[arg-type]
        page = context.new_page()
        for name, address in (ours(night) | great_expectations(night)).items():
            answer = page.goto(address)
            assert answer is not None and answer.ok, name
            assert person.barriers(page) == [], (name, scheme)
        context.close()


def test_axe_finds_a_barrier_where_there_is_one(browser: person.Browser) -> None:
    page = browser.new_page()
    page.set_content("<html lang=en><title>t</title><main><h1>t</h1><img src='data:,'><input></main>")
    assert {finding.split(":")[0] for finding in person.barriers(page)} == {"image-alt", "label"}


def test_a_page_wider_than_its_window_is_seen(browser: person.Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_content("<div style='width: 400px'>wide</div>")
    assert person.too_wide(page) > 0
