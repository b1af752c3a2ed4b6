"""Sets up .venv from the locked, hashed requirements, and does nothing when it is up to date. Standard library only.

Usage: scripts/setup serve|demo|test. Every failure ends in one line on stderr that says how to mend it, and exit code 1.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "setup.log"
LOCKS = {"serve": "serve.txt", "demo": "serve.txt", "test": "test.txt"}
MIN_FREE_BYTES = 1200 * 2**20

NETWORK_SIGNS = (
    "Could not find a version",
    "No matching distribution",
    "Max retries exceeded",
    "NewConnectionError",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "timed out",
    "ProxyError",
    "Connection broken",
    "SSLError",
)


class SetupFailure(Exception):
    """What went wrong and how to mend it, in one line."""


def main() -> int:
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in LOCKS:
        print("usage: scripts/setup serve|demo|test", file=sys.stderr)
        return 2
    try:
        set_up(kind)
    except SetupFailure as failure:
        print(f"setup: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next run carries on", file=sys.stderr)
        return 130
    return 0


def set_up(kind: str) -> None:
    lock = ROOT / "requirements" / LOCKS[kind]
    stamp = VENV / f"setup-{lock.stem}.stamp"
    if is_current(stamp, lock):
        return
    check_machine(needs_library=kind != "demo")
    started = time.monotonic()
    if not is_usable(VENV / "bin" / "python"):
        step("Creating .venv", create_environment)
    step(f"Installing {count(lock)} locked packages", lambda: install_lock(lock))
    step("Installing completionist", install_project)
    stamp.write_text(fingerprint(lock))
    print(f"Environment ready in {time.monotonic() - started:.1f} s", flush=True)


def is_current(stamp: Path, lock: Path) -> bool:
    return stamp.exists() and stamp.read_text() == fingerprint(lock) and (VENV / "bin" / "completionist").exists()


def fingerprint(lock: Path) -> str:
    """Changes with the lock, with the packaging, and when the clone is moved (scripts in .venv hold its path)."""
    digest = hashlib.sha256()
    for part in (lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(VENV).encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def check_machine(*, needs_library: bool) -> None:
    if needs_library and sys.platform == "linux":
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError:
            raise SetupFailure(
                "libgomp.so.1 is missing, which the inference library needs: install it "
                "(Debian, Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp; Alpine is not supported)"
            ) from None
    free = shutil.disk_usage(ROOT).free
    if free < MIN_FREE_BYTES:
        raise SetupFailure(
            f"{free >> 20} MB free at {ROOT}, {MIN_FREE_BYTES >> 20} MB needed: free some space, then repeat"
        )


def step(title: str, action: Callable[[], None]) -> None:
    print(f"{title} …", flush=True)
    started = time.monotonic()
    try:
        action()
    except OSError as error:
        raise SetupFailure(f"{title} failed: {error.strerror or error}: {remedy(str(error))}") from None
    print(f"{title}: {time.monotonic() - started:.1f} s", flush=True)


def is_usable(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def create_environment() -> None:
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).strip()
    if "ensurepip" in said or "No module named venv" in said:
        raise SetupFailure(
            "this Python has no working venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
        )
    raise SetupFailure(f"creating .venv failed: {last_line(said)}: {remedy(said)}")


def count(lock: Path) -> int:
    return len(re.findall(r"^[a-z0-9._-]+==", lock.read_text(), re.MULTILINE))


def install_lock(lock: Path) -> None:
    pip("install", "--require-hashes", "--only-binary=:all:", "-r", str(lock))


def install_project() -> None:
    """Editable, built by the build backend that the lock brought: nothing is fetched."""
    pip("install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT))


def pip(*arguments: str) -> None:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    with LOG.open("w") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert running.stdout is not None
        for line in show_progress(running.stdout):
            log.write(line)
        code = running.wait()
    if code != 0:
        said = LOG.read_text()
        raise SetupFailure(f"{last_error(said)}: {remedy(said)} (the whole output: {LOG.relative_to(ROOT)})")


def show_progress(lines: Iterable[str]) -> Iterator[str]:
    """Passes pip's lines on; shows the current one on a terminal, and the downloads elsewhere."""
    is_terminal = sys.stdout.isatty()
    for line in lines:
        text = line.strip()
        if is_terminal and text:
            print(f"\r\x1b[K  {text[:100]}", end="", flush=True)
        elif text.startswith("Downloading "):
            print(f"  {text}", flush=True)
        yield line
    if is_terminal:
        print("\r\x1b[K", end="", flush=True)


def last_error(said: str) -> str:
    errors = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ") if errors else last_line(said)


def last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def remedy(said: str) -> str:
    if "No space left" in said or "Disk quota exceeded" in said:
        return "the disk is full: free some space, then repeat; what was fetched is kept"
    if "DO NOT MATCH THE HASHES" in said:
        return "a download differs from its locked hash: repeat; if it stays, ask whoever runs your package index"
    if any(sign in said for sign in NETWORK_SIGNS):
        return (
            "the package index cannot be reached, or lacks the file for this platform: "
            "check the network and `pip config list`, then repeat"
        )
    if "Permission denied" in said or "Read-only file system" in said:
        return f"{VENV} cannot be written: check who owns it"
    return "remove .venv and repeat"


if __name__ == "__main__":
    sys.exit(main())
