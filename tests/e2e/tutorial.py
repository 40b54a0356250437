"""docs/tutorial.md as steps: files to write, commands to run, and what they must say."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"\A# file: (\S+)\n")


@dataclass(frozen=True)
class Step:
    """A file (``path`` set), a command or, for ``text``, what the command before must say."""

    kind: str
    body: str
    path: str = ""


def steps(page: str) -> list[Step]:
    """The fenced blocks of a page; ValueError for one that nobody would follow."""
    found = []
    for kind, body in BLOCK.findall(page):
        named = FILE.match(body)
        if named:
            found.append(Step("file", body[named.end() :], named[1]))
        elif kind in ("sh", "text"):
            found.append(Step(kind, body))
        else:
            raise ValueError(f"a block of {kind} without a file name: {body[:60]!r}")
    return found


def said(expected: str, output: str) -> list[str]:
    """Lines of ``expected`` that the output does not have, in order; ``...`` stands for anything."""
    missing, at = [], 0
    for line in expected.splitlines():
        wanted = ".*".join(re.escape(part) for part in line.split("..."))
        match = re.compile(f"^{wanted}", re.MULTILINE).search(output, at)
        if match is None:
            missing.append(line)
        else:
            at = match.end()
    return missing


def follow(page: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Do in ``folder`` what the page says, in order; AssertionError where a command fails or says something else."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    exports, output = "", ""
    for step in steps(page):
        if step.kind == "file":
            (folder / step.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / step.path).write_text(step.body, encoding="utf-8")
        elif step.kind == "text":
            assert not (missing := said(step.body, output)), f"{missing} is not in:\n{output}"
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", exports + step.body], cwd=folder, env={**environment, "PATH": path},
                text=True, capture_output=True, timeout=900, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{step.body}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            output = done.stdout
            exports += "".join(f"{line}\n" for line in step.body.splitlines() if line.startswith("export "))
