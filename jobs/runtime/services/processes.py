"""Local processes: start them detached, know them again by pid and start time, end only our own."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from jobs.runtime.errors import SetupError

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class Process:
    """A process of ours: a pid alone may have been given to somebody else since."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process with this pid as it runs now."""
        return cls(pid, psutil.Process(pid).create_time())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def end(self, seconds: float = 15.0) -> None:
        """Ask it and its children to end, then make them; where it was killed, the children it left."""
        if not self.alive():
            _end(self._orphans())
            return
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]
            process.terminate()
            psutil.wait_procs([process], timeout=seconds)
            _end(family)

    def _orphans(self) -> list[psutil.Process]:
        """What is left of its session, and the children of that; nothing where the pid is somebody else's by now."""
        with contextlib.suppress(psutil.Error):
            if psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE:
                return []
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.pid and process.pid != self.pid:
                    left += [process, *process.children(recursive=True)]
        return left

    def record(self) -> dict[str, Any]:
        """What services.json keeps."""
        return asdict(self)


def _end(family: Sequence[psutil.Process]) -> None:
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    for member in psutil.wait_procs(family, timeout=5.0)[1]:
        with contextlib.suppress(psutil.Error):
            member.kill()


def start(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> Process:
    """Start ``command`` in a session of its own; it outlives this process and writes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
        )
    return Process.of(child.pid)


def once(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path, stdin: str = "") -> None:
    """Run ``command`` to its end; SetupError names its log where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            list(command), input=stdin.encode(), stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
        )
    if done.returncode:
        raise SetupError(f"`{' '.join(command[:4])}` failed: {last_line(log)}; see {log}")


def wait_for(ready: Callable[[], bool], process: Process, what: str, log: Path, seconds: float) -> None:
    """Wait until ``ready``; SetupError where the process ends or the time is over first."""
    end = time.monotonic() + seconds
    while not ready():
        if not process.alive():
            raise SetupError(f"{what} ended while it started: {last_line(log)}; see {log}")
        if time.monotonic() > end:
            raise SetupError(f"{what} was not ready after {seconds:.0f} s; see {log}")
        time.sleep(0.3)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def listens(port: int, host: str = LOCALHOST) -> bool:
    """Whether something listens on this port, of this machine unless another is named."""
    try:
        socket.create_connection((host, port), timeout=0.5 if host == LOCALHOST else 10.0).close()
    except OSError:
        return False
    return True


def free_port(preferred: int, taken: set[int], say: Callable[[str], None], what: str) -> int:
    """``preferred`` where it is free, else any other; says so. The port is added to ``taken``."""
    port = preferred
    if preferred in taken or not _bindable(preferred):
        while True:
            with socket.socket() as probe:
                probe.bind((LOCALHOST, 0))
                port = probe.getsockname()[1]
            if port not in taken:
                break
        say(f"port {preferred} is taken; {what} uses {port}")
    taken.add(port)
    return port


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive file lock; a second process waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    temporary.replace(path)


def secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """The secret kept in ``path`` (mode 600), made on first use."""
    if not path.exists():
        write_private(path, make() + "\n")
    return path.read_text().strip()


def read_json(path: Path) -> dict[str, Any]:
    """The document in ``path``; empty where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}
