"""What no line of ours may do: run code that was data, or put text into SQL that is not quoted."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("jobs", "plugins", "dags")
RUNS_DATA = {  # calls that can run what a file or a model says
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "cloudpickle.load", "cloudpickle.loads", "joblib.load", "pd.read_pickle", "pandas.read_pickle", "torch.load",
    "yaml.unsafe_load", "yaml.full_load", "mlflow.pyfunc.load_model", "mlflow.xgboost.load_model",
    "mlflow.sklearn.load_model", "mlflow.models.load_model", "skops.io.load", "marshal.load", "marshal.loads",
}  # fmt: skip
STATEMENTS = {"execute", "executemany", "SQL"}  # of connections and psycopg.sql
DUCKDB = {"jobs/tables/load.py", "jobs/tables/files.py", "jobs/tables/demo.py"}  # whose names go through quoted()
CONSTANT = {"jobs/runtime/services/postgres.py": "names of our own databases"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def runs_data(source: str) -> list[str]:
    """Calls of a source that can run what was data."""
    found = []
    for name, call in calls(ast.parse(source)):
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in RUNS_DATA or given.get("shell") == "True" or given.get("allow_pickle") == "True":
            found.append(name)
        if name == "yaml.load" and given.get("Loader") != "_UniqueKeys":  # a SafeLoader of ours
            found.append(name)
    return found


def unquoted(source: str) -> list[str]:
    """SQL of a source that is put together from text: f-strings with names in them, %, + and str.format."""
    found = []
    for name, call in calls(ast.parse(source)):
        if name.rsplit(".", 1)[-1] not in STATEMENTS or not call.args:
            continue
        given = call.args[0]
        joined = isinstance(given, ast.JoinedStr) and any(isinstance(part, ast.FormattedValue) for part in given.values)
        added = isinstance(given, ast.BinOp)
        formatted = (
            isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and given.func.attr == "format"
        )
        texts = formatted and isinstance(given.func.value, ast.Constant | ast.JoinedStr)  # type: ignore[union-attr]
        if joined or added or texts:
            found.append(ast.unparse(given))
    return found


def sources() -> list[tuple[str, str]]:
    """Path and text of every source of ours."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 100
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in found]


def test_nothing_that_was_data_is_run() -> None:
    assert {path: found for path, text in sources() if (found := runs_data(text))} == {}


def test_every_name_in_sql_is_composed_and_quoted() -> None:
    mine = [(path, text) for path, text in sources() if path not in DUCKDB and path not in CONSTANT]
    assert {path: found for path, text in mine if (found := unquoted(text))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(open('model'))",
        "np.load(file, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "mlflow.pyfunc.load_model(uri)",
        "eval(rule)",
    ],
)
def test_what_runs_data_is_seen(line: str) -> None:
    assert runs_data(line)


@pytest.mark.parametrize(
    "line",
    [
        "cursor.execute(f'SELECT * FROM {table}')",
        "connection.execute('SELECT * FROM ' + table)",
        "connection.execute('SELECT %s' % name)",
        "sql.SQL(f'DROP TABLE {name}')",
        "warehouse.sql.SQL('SELECT {}'.format(name))",
    ],
)
def test_sql_made_of_text_is_seen(line: str) -> None:
    assert unquoted(line)


def test_composed_sql_passes() -> None:
    assert not unquoted("connection.execute(sql.SQL('SELECT {}').format(sql.Identifier(name)), (value,))")
    assert not unquoted("cursor.execute('SELECT 1')")
