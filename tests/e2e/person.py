"""A person in front of the pages: Debian's chromium, driven by playwright, which downloads nothing."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

MISSING = "NO BROWSER TEST HAS RUN: there is no chromium; `apt-get install chromium`, or name one in NIGHTLIFT_CHROMIUM"

expect.set_options(timeout=30_000)  # of a page on a machine that does other things, too


def chromium() -> str | None:
    """Path of the browser, or None where the machine has none."""
    return os.environ.get("NIGHTLIFT_CHROMIUM") or shutil.which("chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=sandbox)
        yield opened
        opened.close()


def log_in(page: Page, address: str, password: str) -> None:
    """From whatever page asks for it to where the person wanted to go."""
    page.goto(address)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(address)


def form(page: Page, dag: str, run_date: str) -> Locator:
    """The form of a DAG's page, opened, with its night filled in."""
    page.goto(dag)
    page.get_by_role("button", name="Trigger").first.click()
    opened = page.get_by_role("dialog").filter(has_text="Night to run")
    opened.locator("input[type=date]").fill(run_date)
    return opened


def send(page: Page, filled: Locator) -> str:
    """Send the form; the id of the run, whose page is then shown."""
    filled.get_by_role("button", name="Trigger").last.click()
    expect(filled).to_be_hidden()
    page.wait_for_url("**/runs/manual__*", timeout=60_000)
    return unquote(urlsplit(page.url).path.rstrip("/").rpartition("/")[2])


def state(page: Page, run: str) -> Locator:
    """What the run's page says in its heading of the whole run; its tasks have badges of their own below."""
    beside = "xpath=following-sibling::*[@data-testid='state-badge']"
    return page.get_by_role("heading", name=run, exact=True).locator(beside)


def trigger(page: Page, dag: str, run_date: str) -> str:
    """Fill the form of a DAG's page, send it and follow the run until Airflow shows that it has ended; its id."""
    run = send(page, form(page, dag, run_date))
    expect(state(page, run)).to_have_text(re.compile("Success|Failed"), timeout=900_000)
    return run


def barriers(page: Page) -> list[str]:
    """Serious and critical findings of axe: rule, what it says, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
