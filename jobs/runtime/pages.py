"""The pages people open after a night: all nights at ``<docs>/index.html``, one night's checks below it.

``<docs>/index.html``                              nights by site, newest first
``<docs>/data_docs/<site>/<date>/index.html``      the checks of a night, suite by suite
``<docs>/data_docs/<site>/<date>/<check>/``        Great Expectations' own pages and ``results.json``
``<docs>/reports/<site>/<date>.html``, ``.json``   the report, and its verdict for the list of nights

The pages follow from these files alone: the same files give the same bytes.
"""

import fcntl
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import jinja2

from jobs.runtime.environment import ROOT

TEMPLATES = ROOT / "jobs" / "templates"
SEVERITIES = ("critical", "warning")
CHECKS = {
    "check_raw": "The tables as the warehouse has them, before anything is cleaned.",
    "check_clean": "The cleaned tables that everything after them is learnt from.",
    "check_recommendations": "Tonight's lists, the features behind them and the night's figures, before anything is "
    "published.",
}


def render(template: str, values: Mapping[str, Any]) -> str:
    """A page of ``jobs/templates``; every text is escaped, and a value the template misses is an error."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    page = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return page.get_template(template).render(**values)


def check_folder(docs: Path, site: str, day: date, check: str) -> Path:
    """Where Great Expectations' pages of a check lie: the same address for the same site, date and check."""
    return docs / "data_docs" / site / day.isoformat() / check


def checks_page(docs: Path, site: str, day: date) -> Path:
    """The page of a night's checks."""
    return docs / "data_docs" / site / day.isoformat() / "index.html"


def report_page(docs: Path, site: str, day: date) -> Path:
    """The report of a night."""
    return docs / "reports" / site / f"{day.isoformat()}.html"


def record_check(folder: Path, results: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> None:
    """Keep a check's results beside its pages; ``lines`` say each result in one line, in the same order."""
    kept = [
        {name: result[name] for name in ("table", "severity", "success", "note")} | {"line": line}
        for result, line in zip(results, lines, strict=True)
    ]
    _write(folder / "results.json", json.dumps({"results": kept}, indent=1))


def record_report(docs: Path, site: str, day: date, page: str, verdict: str) -> Path:
    """Write the report and its verdict; returns the report's path."""
    path = report_page(docs, site, day)
    _write(path, page)
    _write(path.with_suffix(".json"), json.dumps({"verdict": verdict}))
    return path


def rebuild(docs: Path, site: str, day: date) -> None:
    """Write the night's page of checks and the page of all nights anew from the files below ``docs``."""
    with _alone(docs):
        _write(checks_page(docs, site, day), render("data_docs.html.j2", night_values(docs, site, day)))
        _write(docs / "index.html", render("index.html.j2", index_values(docs)))


def night_values(docs: Path, site: str, day: date) -> dict[str, Any]:
    """What the page of a night's checks shows; a check that has not run has no suites."""
    report = report_page(docs, site, day)
    return {
        "site": site,
        "date": day.isoformat(),
        "severities": SEVERITIES,
        "report": f"../../../reports/{site}/{report.name}" if report.exists() else None,
        "checks": [_check_values(check_folder(docs, site, day, name), meaning) for name, meaning in CHECKS.items()],
    }


def index_values(docs: Path) -> dict[str, Any]:
    """What the page of all nights shows: its sites by name, their nights newest first."""
    nights = {(path.parent.name, path.name) for path in docs.glob("data_docs/*/*") if path.is_dir()}
    nights |= {(path.parent.name, path.stem) for path in docs.glob("reports/*/*.html")}
    sites: dict[str, list[dict[str, Any]]] = {}
    for site, day in sorted(nights, key=lambda night: night[1], reverse=True):
        sites.setdefault(site, []).append(_night_row(docs, site, date.fromisoformat(day)))
    return {"sites": dict(sorted(sites.items()))}


def tally(results: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """One line about expectations and its tone: good, warn or bad."""
    failed = {level: sum(r["severity"] == level and not r["success"] for r in results) for level in SEVERITIES}
    words = [f"{number} {level} failed" for level, number in failed.items() if number]
    held = f"{sum(bool(r['success']) for r in results)} of {len(results)} hold"
    return ", ".join([held, *words]), "bad" if failed["critical"] else "warn" if words else "good"


def _night_row(docs: Path, site: str, day: date) -> dict[str, Any]:
    results = [r for name in CHECKS for r in _results(check_folder(docs, site, day, name))]
    summary, tone = tally(results) if results else ("no check has run", "quiet")
    report, checks = report_page(docs, site, day), checks_page(docs, site, day)
    verdict = report.with_suffix(".json")
    return {
        "date": day.isoformat(),
        "verdict": json.loads(verdict.read_text(encoding="utf-8"))["verdict"] if verdict.exists() else None,
        "summary": summary,
        "tone": tone,
        "report": report.relative_to(docs).as_posix() if report.exists() else None,
        "docs": checks.relative_to(docs).as_posix() if checks.exists() else None,
    }


def _check_values(folder: Path, meaning: str) -> dict[str, Any]:
    results = _results(folder)
    summary, tone = tally(results)
    suites = []
    for table in dict.fromkeys(result["table"] for result in results):
        mine = [result for result in results if result["table"] == table]
        page = next(iter(sorted(folder.glob(f"validations/{table}/**/*.html"))), None)
        counts = {level: [r["success"] for r in mine if r["severity"] == level] for level in SEVERITIES}
        suites.append(
            {
                "name": table,
                "page": page.relative_to(folder.parent).as_posix() if page else None,
                "results": mine,
                "counts": {k: {"held": sum(each), "failed": len(each) - sum(each)} for k, each in counts.items()},
            }
        )
    return {
        "name": folder.name,
        "meaning": meaning,
        "summary": summary,
        "tone": tone,
        "suites": suites,
        "failures": [r for level in SEVERITIES for r in results if r["severity"] == level and not r["success"]],
    }


def _results(folder: Path) -> list[dict[str, Any]]:
    path = folder / "results.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["results"]) if path.exists() else []


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def _alone(docs: Path) -> Iterator[None]:
    """Nights of several sites may end at once: the one that waits sees what the other wrote."""
    docs.mkdir(parents=True, exist_ok=True)
    with (docs / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
