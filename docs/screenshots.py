"""The README's pictures of a real night: ``python -m docs.screenshots --site grocery --date 2017-12-03 --user 1``.

The services of ``$NIGHTLIFT_HOME`` must be up; chromium does the drawing.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from jobs.runtime.environment import Environment
from tests.e2e import person

IMAGES = Path(__file__).resolve().parent / "images"
SIZE = {"width": 1200, "height": 760}


def addresses(environment: Environment, site: str, day: str, user: str) -> Mapping[str, str]:
    """Picture -> address of the page it shows."""
    airflow = environment.services["airflow_url"]
    ours = f"{airflow}/nightlift"
    return {
        "effects": f"{ours}/sites/{site}",
        "user": f"{ours}/sites/{site}/users?user={user}",
        "report": f"{ours}/docs/reports/{site}/{day}.html",
        "data_docs": f"{ours}/docs/data_docs/{site}/{day}/index.html",
        "dag": f"{airflow}/dags/nightly_{site}",
    }


def take(pages: Mapping[str, str], password: str) -> None:
    """One PNG a page."""
    IMAGES.mkdir(exist_ok=True)
    with person.browser() as browser:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        person.log_in(page, pages["effects"], password)
        run = page.get_by_role("link", name="MLflow run").first.get_attribute("href")
        pages = {**pages, "mlflow": str(run)}
        for name, address in pages.items():
            page.goto(address)
            page.wait_for_timeout(6_000)  # graphs and MLflow are drawn long after the page has loaded
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png")


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True)
    parser.add_argument("--date", required=True, help="run date of the night, YYYY-MM-DD")
    parser.add_argument("--user", required=True, help="whose lists are shown")
    given = parser.parse_args()
    environment = Environment.load()
    password = (environment.home / "airflow-admin-password").read_text().strip()
    take(addresses(environment, given.site, given.date, given.user), password)


if __name__ == "__main__":
    main()
