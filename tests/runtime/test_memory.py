"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from metaal_env.runtime import memory

SCRIPT = """
import resource, sys
from metaal_env.runtime.memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    room = bytearray(2**26)
    del room
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    faults = {
        way: int(subprocess.run([sys.executable, "-c", SCRIPT, way], capture_output=True, check=True).stdout)
        for way in ("keep", "plain")
    }
    assert faults["keep"] < faults["plain"] / 4


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)  # would fail if it were called
    memory.keep_memory()
