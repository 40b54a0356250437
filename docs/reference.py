"""Writes docs/dags.md, docs/tables.md and docs/site.md from the code: ``python -m docs.reference``.

A test fails where a page and the code differ.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GENERATED = "<!-- made by `make docs`; edit the code, not this page -->"


def page(title: str, *parts: str) -> str:
    """A page of Markdown."""
    return "\n\n".join([f"# {title}", GENERATED, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def tables() -> str:
    """Tables people write, tables people read, and those of the lake."""
    from jobs.tables import contracts, mart_schema, warehouse, words

    written = [
        f"### {name}\n\nKey: `{warehouse.KEYS[name]}`. Further columns are attributes and become features.\n\n"
        + table(
            ("column", "type", "required", "meaning"),
            [
                (f"`{column}`", kind, "yes" if column in warehouse.REQUIRED[name] else "", words.RAW[column])
                for column, kind in columns.items()
            ],
        )
        for name, columns in warehouse.RAW_COLUMNS.items()
    ]
    mart = mart_schema.columns()
    read = [
        f"### {name}\n\n{meaning}\n\n"
        + table(
            ("column", "type", "meaning"),
            [
                (f"`{column}`", kind, words.MART[column])
                for column, kind in mart["recommendations_history" if name == "recommendations" else name].items()
            ],
        )
        for name, meaning in words.TABLES.items()
        if name != "recommendations_history"
    ]
    lake = table(
        ("table", "key", "meaning", "columns"),
        [
            (
                f"`{one.name}`",
                ", ".join(f"`{name}`" for name in one.key) or "none",
                one.meaning,
                ", ".join(f"{name} ({kind})" for name, kind in one.columns.items())
                + (", and attributes" if one.open else ""),
            )
            for one in contracts.TABLES.values()
        ],
    )
    return page(
        "Tables",
        "Names of schemas are those of the site file: `raw` and `mart` unless it says otherwise.",
        "## What you write: schema raw",
        *written,
        "## What you read: schema mart",
        "A login with the role `nightlift_reader` sees `recommendations` and, of every other table, the view "
        "`<table>_view` with the same columns.",
        *read,
        "## Between the tasks: the lake",
        "Types are Arrow's; a `?` marks a column that may be empty. `run_metrics`, `item_effects`, `user_profiles` and "
        "`relevance_lists` get their `version_id` when they are published.",
        lake,
    )


def site() -> str:
    """Every key of a site file."""
    from jobs.runtime.site import Site

    schema = Site.model_json_schema()
    rows = [(f"`{key}`", kind, default, meaning) for key, kind, default, meaning in _keys(schema, schema, "")]
    return page(
        "The site file",
        "One YAML file a site, `config/sites/<site>.yaml` or in the folder that `NIGHTLIFT_SITES` names. Only `site` "
        "and `outcome.event_types` have no default. `a.b` means key `b` below key `a`. An unknown key or an impossible "
        "value is an error that names it, before anything runs.",
        table(("key", "value", "default", "meaning"), rows),
    )


def _keys(whole: Mapping[str, Any], part: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str, str, str]]:
    for name, field in part["properties"].items():
        target = _resolve(whole, field)
        if ("properties" in target and "default" in field) or name == "outcome":
            yield from _keys(whole, target, f"{prefix}{name}.")
        else:
            default = "required" if name in part.get("required", ()) else _value(field["default"])
            yield f"{prefix}{name}", _kind(whole, field), default, field.get("description", "")


def _resolve(whole: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in field:
        return dict(whole["$defs"][field["$ref"].rsplit("/", 1)[1]])
    return field


def _value(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, list):
        return "[" + ", ".join(map(str, default)) + "]"
    return f"`{default}`" if default != {} else "{}"


def _kind(whole: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """Type and bounds of a value in words."""
    field = _resolve(whole, field)
    if "anyOf" in field:
        kinds = [_kind(whole, one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join([*kinds, *(["none"] if any(one.get("type") == "null" for one in field["anyOf"]) else [])])
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(whole, field['items'])}"
    if "properties" in field:
        return "mapping of " + ", ".join(f"`{name}`" for name in field["properties"])
    if field.get("type") == "object":
        return f"mapping of names to {_kind(whole, field['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    kind = "day" if field.get("format") == "date" else words[field["type"]]
    return f"{kind}{_bounds(field)}"


def _bounds(field: Mapping[str, Any]) -> str:
    names = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    said = [f"{word} {field[name]:g}" for name, word in names.items() if name in field]
    if "pattern" in field:
        said.append(f"`{field['pattern']}`")
    return f", {' '.join(said)}" if said else ""


def dags() -> str:
    """The DAG of a site: its form, its tasks and what to do about them."""
    dag, tuning = _example_dag("nightly"), _example_dag("weekly_tuning")
    from nightlift import links
    from nightlift.tasks import GROUPS, TASKS, TUNING, doc

    shown = {task.task_id: task for task in dag.tasks}
    edges = [f"  {one} --> {other}" for one in TASKS for other in sorted(shown[one].downstream_task_ids)]
    groups = [
        f"  subgraph {group}\n" + "\n".join(f"    {name}" for name in names) + "\n  end"
        for group, (_, names) in GROUPS.items()
    ]
    parts = []
    for group, (meaning, names) in GROUPS.items():
        parts.append(f"## Group {group}\n\n{meaning}")
        parts += [f"### {name}\n\n{doc(name, 'shop')}" for name in names]
    on_task = [f"* {link.name}: {link.__doc__}" for link in (*links.LINKS, *links.SPARK_LINKS[1:])]
    return page(
        "The DAG of a site",
        f"One DAG a site file, `nightly_<site>`; here of a site called `shop`. Schedule: `schedule` of the site file, "
        f"UTC; one run at a time; a task is retried {shown['extract'].retries} times, "
        f"{shown['extract'].retry_delay.total_seconds():.0f} s apart, and stopped after "
        f"{shown['extract'].execution_timeout}.",
        str(dag.doc_md).strip(),
        "```mermaid\nflowchart TD\n" + "\n".join([*groups, *edges]) + "\n```",
        "## The form\n\n" + _form(dag),
        "## Assets\n\nWhen `publish` shows readers a new version, each published table is an asset event, such as "
        '`Asset("shop.recommendations")`, with `rows`, `version_id` and `run_date` in its extra. A dry run, a '
        "version that is kept and the same version again are no event.",
        "## Links on tasks\n\nOn a task of a run, tab **Details**:\n\n" + "\n".join(on_task),
        "## Notes of runs\n\nA run ends with a note: what was published, or which task failed and why. A note that a "
        "person wrote stays.",
        *parts,
        "## The tuning of a site, `weekly_tuning_<site>`\n\nSchedule: `tuning.schedule` of the site file, UTC.",
        str(tuning.doc_md).strip(),
        _form(tuning),
        *(f"### {name}\n\n{doc(name, 'shop')}" for name in TUNING),
    )


def _form(dag: Any) -> str:
    """The params of a DAG."""
    params = {name: dag.params.get_param(name) for name in dag.params}
    rows = [(f"`{name}`", _choices(param.schema), str(param.description)) for name, param in params.items()]
    return table(("param", "value", "meaning"), rows)


def _choices(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"] if word is not None) + " or empty"
    if schema["type"] == "boolean":
        return "yes or no"
    return "day or empty" if schema.get("format") == "date" else "text or empty"


def _example_dag(name: str) -> Any:
    from jobs.runtime.site import Site

    sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]
    spec = importlib.util.spec_from_file_location(name, ROOT / "dags" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)(Site.model_validate({"site": "shop", "outcome": {"event_types": ["purchase"]}}))


PAGES: dict[str, Callable[[], str]] = {"dags.md": dags, "tables.md": tables, "site.md": site}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")
