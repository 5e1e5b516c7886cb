"""Run commands as their console scripts would, against a fake supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {
    "viewos": "viewos_clients.viewos:main",
    "um_add_service": "viewos_clients.um:add_service",
    "um_del_service": "viewos_clients.um:del_service",
    "um_ls_service": "viewos_clients.um:ls_service",
    "um_mov_service": "viewos_clients.um:mov_service",
    "um_attach": "viewos_clients.um:attach",
    "um_fsalias": "viewos_clients.mounting:fsalias",
    "mstack": "viewos_clients.networking:mstack",
    "viewmount": "viewos_clients.mounting:viewmount",
    "viewumount": "viewos_clients.mounting:viewumount",
    "umshutdown": "viewos_clients.um:shutdown",
    "viewname": "viewos_clients.names:viewname",
    "vuname": "viewos_clients.names:vuname",
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: str) -> list[str]:
    """What to execute for a command line whose first word is a command's name."""
    module, _, function = ENTRY[words[0]].partition(":")
    code = f"import sys; from {module} import {function} as main; sys.exit(main())"
    return [sys.executable, "-c", code, *words[1:]]


def environment(directory: Path) -> dict[str, str]:
    """Views are found in ``directory``/run, further packages in ``directory``/site."""
    places = [str(directory / "site"), *(str(ROOT / name) for name in ("", "clients", "services"))]
    return os.environ | {
        "VIEWOS_RUNTIME_DIR": str(directory / "run"), "PYTHONPATH": os.pathsep.join(places),
        "TZ": "UTC", "COLUMNS": "80",
    }  # fmt: skip


def ok(result: subprocess.CompletedProcess[str]) -> str:
    """What a command that succeeded has printed."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def failed(result: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Exit status and complaint of a command that printed nothing else."""
    assert result.stdout == ""
    return result.returncode, result.stderr


def runner(directory: Path) -> Run:
    """Runs a command line to its end."""

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        defaults = {"env": environment(directory), "cwd": "/", "timeout": 100}
        defaults |= {"capture_output": True, "text": True}
        return subprocess.run(command(*words), **(defaults | options))

    return run
