"""Processes that have other people's libraries at hand, which take seconds to import, but nothing of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.paths import ROOT

LIBRARIES = ("matplotlib.pyplot", "sklearn.linear_model", "stable_baselines3")
SERVER = """
import importlib, json, os, sys, traceback

for library in sys.argv[1:]:
    importlib.import_module(library)
for line in sys.stdin:
    code, folder, errors = json.loads(line)
    if not (child := os.fork()):
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        status = 1
        try:
            exec(compile(code, "code", "exec"), vars(sys.modules["__main__"]))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class FreshProcesses:
    """Runs code, each time in a new child of one process that has imported `LIBRARIES` once."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server

    def run(self, code: str, folder: Path) -> str:
        """Runs code as a script in `folder`; returns its traceback, or nothing where it went well."""
        assert self.server.stdin is not None and self.server.stdout is not None
        errors = folder / "stderr.txt"
        self.server.stdin.write(json.dumps([code, str(folder), str(errors)]) + "\n")
        self.server.stdin.flush()
        status = self.server.stdout.readline()
        return "" if status == "0\n" else f"status {status}{errors.read_text()}"


@contextmanager
def fresh_processes() -> Iterator[FreshProcesses]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", SERVER, *LIBRARIES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as server:
        yield FreshProcesses(server)
