"""The README's code runs as printed."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_quickstart_runs_and_is_short(capsys):
    (code,) = re.findall(r"## Quickstart\n\n```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    exec(compile(code, "README.md", "exec"), {})
    assert "area under the learning curve" in capsys.readouterr().out


def test_the_own_pool_example_runs(capsys):
    (code,) = re.findall(r"## Use it on your own pool\n\n```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.split()) >= 5


def test_every_file_and_option_it_names_exists():
    root = Path(__file__).parent.parent
    for name in re.findall(r"`((?:metaal_env|agents|benchmarks|docs)/[\w/.]*)`", README):
        assert (root / name).exists(), name
    for picture in re.findall(r"!\[[^]]*\]\(([^)]*)\)", README):
        assert (root / picture).is_file(), picture
