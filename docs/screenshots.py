"""The README's pictures of a real night: ``python -m docs.screenshots --site grocery --date 2017-12-17 --user 1``.

The services of ``$NIGHTLIFT_HOME`` must be up; chromium does the drawing.
"""

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from jobs.runtime import cli
from jobs.runtime.environment import Environment
from jobs.runtime.screen import Screen
from tests.e2e import person

IMAGES = Path(__file__).resolve().parent / "images"
SIZE = {"width": 1280, "height": 800}
STRIP = {"width": 1280, "height": 460}  # the graph is long and low
LINKS = {"dag": "DAG run", "mlflow": "MLflow run"}  # of the effects page
COLUMNS, LINES = 170, 40  # of the terminal in the picture
# MLflow opens a panel of its own on the first visit
AT_HOME = """localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");"""


def addresses(environment: Environment, site: str, day: str, user: str) -> Mapping[str, str]:
    """Picture -> address of the page it shows; those of LINKS are found on the first of them."""
    ours = f"{environment.services['airflow_url']}/nightlift"
    return {
        "effects": f"{ours}/sites/{site}",
        "user": f"{ours}/sites/{site}/users?user={user}",
        "report": f"{ours}/docs/reports/{site}/{day}.html",
        "data_docs": f"{ours}/docs/data_docs/{site}/{day}/index.html",
    }


def whole_graph(page: person.Page) -> None:
    """The run as a graph with every task and its state, on most of the window."""
    page.set_viewport_size(STRIP)  # type: ignore[arg-type]
    page.get_by_role("button", name="Show Graph").click()
    page.get_by_role("button", name="Expand all task groups").click()
    page.get_by_role("button", name="Collapse Details Panel").click()
    page.add_style_tag(content=".react-flow__minimap { display: none }")
    page.wait_for_timeout(3_000)  # nodes move for a while after they are there
    fit = page.get_by_role("button", name="Fit View")
    if fit.count():
        fit.first.click()
    page.wait_for_timeout(2_000)


def whole_run(page: person.Page) -> None:
    """MLflow's page of a run, which is filled long after it has loaded."""
    page.get_by_text("About this run").wait_for()
    page.get_by_text("average_effect", exact=True).first.wait_for()


PREPARE: Mapping[str, Callable[[person.Page], None]] = {"dag": whole_graph, "mlflow": whole_run}


def take(pages: Mapping[str, str], password: str) -> None:
    """One PNG a page."""
    with person.browser() as browser:
        page = browser.new_page(device_scale_factor=1.5)
        page.add_init_script(AT_HOME)
        person.log_in(page, pages["effects"], password)
        found = {name: page.get_by_role("link", name=label).first for name, label in LINKS.items()}
        linked = {name: str(link.evaluate("link => link.href")) for name, link in found.items()}
        for name, address in {**pages, **linked}.items():
            page.set_viewport_size(SIZE)  # type: ignore[arg-type]
            page.goto(address)
            PREPARE.get(name, lambda _: None)(page)
            page.screenshot(path=IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png")


def terminal(words: list[str]) -> str:
    """What ``python -m jobs`` answers to ``words`` on a terminal, as SVG; its first LINES lines."""
    told = io.StringIO()
    cli.screen = Screen(Console(file=told, width=COLUMNS, force_terminal=True, color_system=None))
    cli.app(words, standalone_mode=False)
    picture = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in told.getvalue().splitlines()[:LINES]:
        picture.print(line, markup=False, highlight=False, soft_wrap=True)
    return picture.export_svg(title=" ".join(["python -m jobs", *words]))


def draw(svg: str, name: str) -> None:
    """An SVG as PNG."""
    with person.browser() as browser:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_content(f"<style>body {{margin: 0}} svg {{width: 100%}}</style>{svg}", wait_until="domcontentloaded")
        page.locator("svg").first.screenshot(path=IMAGES / f"{name}.png")
        print(f"docs/images/{name}.png")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True)
    parser.add_argument("--date", required=True, help="run date of the night, YYYY-MM-DD")
    parser.add_argument("--user", required=True, help="whose lists are shown")
    given = parser.parse_args(argv)
    environment = Environment.load()
    password = (environment.home / "airflow-admin-password").read_text().strip()
    IMAGES.mkdir(exist_ok=True)
    draw(terminal(["explain", "--site", given.site, "--user", given.user]), "command_line")
    take(addresses(environment, given.site, given.date, given.user), password)


if __name__ == "__main__":
    main()
