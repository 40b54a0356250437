"""Great Expectations' pages as they can be read behind a login and without the internet.

As they are made they fetch looks and scripts from nine servers of others. Where those cannot be reached, or must not
be, whether an expectation holds is an icon nobody sees, and the list of suites is empty: the night's own page has it.
"""

import re
import shutil
from pathlib import Path

GONE = re.compile(r"<(script|style|footer)\b.*?</\1>|<(?:link|img)\b[^>]*>", re.DOTALL)
ICON = re.compile(r'<i\s+class="[^"]*\b(text-success|text-danger|text-warning)\b[^"]*"[^>]*>\s*</i>')
STATES = {"text-success": "holds", "text-danger": "fails", "text-warning": "fails, a warning"}
SAID = re.compile(r"(<strong>(?:holds|fails)</strong>) (?:Succeeded|Failed)\b|Data asset: None<br>")  # twice; of nobody
HOME = re.compile(r'href="((?:\.\./)*)(?:\./)?index\.html">(?:Home)?')
HEAD = """<html lang="en">
<head>
<style>
:root { color-scheme: light dark; }
body { background: light-dark(#fff, #0d1117); color: light-dark(#1b1f24, #e6edf3); overflow-wrap: anywhere; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
h5 { font-size: 1.2rem; margin: 1.5rem 0 .3rem; } h6 { font-size: 1rem; margin: .8rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; } .badge { font-weight: 600; }
th, td { border-bottom: 1px solid light-dark(#d0d7de, #30363d); padding: .3rem .6rem .3rem 0; }
th, td { text-align: left; vertical-align: top; } th { overflow-wrap: normal; }
.modal, .navbar-brand, .sticky > .mb-3, [data-toggle="collapse"] { display: none; }
a { color: light-dark(#0550ae, #79b8ff); }
</style>"""


def settle(folder: Path, check: str) -> None:
    """Make every page below ``folder`` need nothing but itself; its list of suites gives way to the night's page.

    The folder will be called ``check`` and lie beside that page.
    """
    (folder / "index.html").unlink()
    shutil.rmtree(folder / "static")
    for page in folder.rglob("*.html"):
        page.write_text(alone(page.read_text(encoding="utf-8"), check), encoding="utf-8")


def alone(page: str, check: str) -> str:
    """A page without scripts, pictures and styles of others, its icons as words and its home the night's page."""
    page = ICON.sub(lambda icon: f"<strong>{STATES[icon[1]]}</strong>", GONE.sub("", page))
    page = SAID.sub(lambda said: said[1] or "", page)
    page = HOME.sub(lambda home: f'href="{home[1]}../index.html#{check}">{check} of the night', page)
    return re.sub(r"<html>\s*<head>", lambda _: HEAD, page, count=1)
