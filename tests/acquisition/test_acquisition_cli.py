"""The practitioner's path: CSV in, labels through a session that is killed, status, suggestions, export."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from helpers.clusters import clusters
from helpers.paths import ROOT
from helpers.queries import minilm_of

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.read_items import Items, read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.label import label_loop
from agents.acquisition.tool.progress import UNKNOWN
from agents.acquisition.tool.session import Session
from metaal_env.errors import InputError

NAMES = ("ape", "bird", "mouse")


def table(path: Path, n: int = 60, labelled: int = 0) -> dict[str, str]:
    """Writes id, two features and a label column; returns the true label of each id."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, n)
    x = clusters(truth, 2, apart=3, on_axes=True, seed=rng)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "weight", "length", "label"])
        for i, row in enumerate(x):
            writer.writerow([f"row{i}", *row.round(4), NAMES[truth[i]] if i < labelled else ""])
    return {f"row{i}": NAMES[t] for i, t in enumerate(truth)}


def answers(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["item"]: row["label"] for row in csv.DictReader(file)}


class Person:
    """Answers rightly: finds the item by what is shown. Feeds `label_loop` or a process's pipe."""

    def __init__(self, items: Items, truth: dict[str, str]) -> None:
        self.by_sight = {s: truth[i] for s, i in zip(items.shown, items.ids, strict=True)}
        self.seen = ""

    def show(self, line: object) -> None:
        self.seen = next((s for s in self.by_sight if str(line).rstrip().endswith(s)), self.seen)

    def ask(self, prompt: str) -> str:
        return self.by_sight[self.seen]


def test_twenty_labels_with_a_kill_in_the_middle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "animals.csv", tmp_path / "labels.csv"
    truth = table(data)
    person = Person(read_items(data), truth)
    command = [sys.executable, "-u", "-m", "agents.acquisition", "label", str(data), "--labels", str(out)]
    command += ["--classes", ",".join(NAMES)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin is not None and process.stdout is not None
    given = 0
    while given < 8:
        line = process.stdout.readline()
        assert line, "the session ended early"
        person.show(line)
        if line.startswith("  why:"):
            process.stdin.write(person.ask("") + "\n")
            process.stdin.flush()
            given += 1
    deadline = time.time() + 20
    while time.time() < deadline and (not out.is_file() or len(answers(out)) < 8):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    first = answers(out)
    assert len(first) == 8 and all(truth[item] == label for item, label in first.items())

    items = read_items(data)
    session = Session.open(out, items)
    assert label_loop(session, encode(items), count=12, ask=person.ask, show=person.show) == 12
    found = answers(out)
    assert len(found) == 20 and list(found.items())[:8] == list(first.items())
    assert all(truth[item] == label for item, label in found.items())

    assert main(["status", str(data), "--labels", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "20 of 60 items labelled, 0 skipped, 3 classes" in printed and UNKNOWN in printed
    suggestions = tmp_path / "next.csv"
    picture = tmp_path / "why.png"
    suggest = ["suggest", str(data), "--labels", str(out), "--k", "5", "--out", str(suggestions)]
    assert main([*suggest, "--figure", str(picture)]) == 0
    assert matplotlib.image.imread(picture).std() > 0.05
    with suggestions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == list("12345") and not {row["item"] for row in rows} & set(found)
    assert all(row["why"] and np.isfinite(float(row["score"])) for row in rows)


def test_bad_input_ends_in_one_sentence(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = work / "animals.csv"
    table(data)
    (work / "foreign.csv").write_text("a,b\n1,2\n")
    (work / "others.csv").write_text("item,label\nrow999,ape\n")
    (work / "text.bin").write_text("x")
    (work / "empty.txt").write_text("\n")
    (work / "dates.csv").write_text("day\n1/2/2024\n3/4/2024\n")
    for arguments, message in [
        (["suggest", str(work / "none.csv")], "no such file"),
        (["suggest", str(work / "text.bin")], "suffix"),
        (["suggest", str(work / "empty.txt")], "no items"),
        (["suggest", str(work / "dates.csv")], "no column besides"),
        (["suggest", str(data), "--k", "0"], "at least 1"),
        (["suggest", str(data), "--figure", "why.bmp"], "must end in .png"),
        (["suggest", str(data), "--policy", "uherdin"], "did you mean"),
        (["suggest", str(data), "--encoder", "tfidf"], "does not read"),
        (["suggest", str(data), "--label-column", "kind"], "no column 'kind'"),
        (["status", str(data), "--labels", str(work / "foreign.csv")], "header"),
        (["status", str(data), "--labels", str(work / "others.csv")], "'row999'"),
        (["report", str(data)], "every label"),
        (["report", str(data), "--figure", "report"], "must end in .png"),
    ]:
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_sources_and_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    (tmp_path / "lines.txt").write_text("a red fox\n\na blue bird\nsome red birds\nfoxes and hens\n", "utf-8")
    lines = read_items(tmp_path / "lines.txt")
    assert len(set(lines.ids)) == 4 and encode(lines, "tfidf").shape[0] == 4
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"word{i} here,\n" for i in range(9)), "utf-8")
    texts = read_items(tmp_path / "t.csv")
    assert texts.texts is not None and np.isfinite(encode(texts, "tfidf")).all()
    np.savez(tmp_path / "v.npz", X=np.eye(5), y=np.array([0.0, 1, np.nan, np.nan, 0]))
    arrays = read_items(tmp_path / "v.npz")
    assert arrays.labels == ("0", "1", None, None, "0") and encode(arrays).shape == (5, 5)
    np.savez(tmp_path / "b.npz", text=np.array([b"a fox", b"a hen"]), y=np.array([[b"cat"], [b""]]))
    saved = read_items(tmp_path / "b.npz")
    assert saved.texts == ["a fox", "a hen"] and saved.labels == ("cat", None)
    (tmp_path / "bare.csv").write_text("1.5,2\n3,4\n5,6\n")
    (tmp_path / "pandas.csv").write_text("0,1\n3,4\n5,6\n")
    assert [len(read_items(tmp_path / name)) for name in ("bare.csv", "pandas.csv")] == [3, 2]
    np.save(tmp_path / "v.npy", np.eye(5, dtype=np.float16))
    assert isinstance(read_items(tmp_path / "v.npy").vectors, np.memmap)
    folder = tmp_path / "pictures" / "day1"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * i, np.uint8)).save(folder / f"{i}.png")
    pictures = read_items(tmp_path / "pictures")
    assert pictures.ids[0] == "day1/0.png" and encode(pictures, "pixels").shape == (3, 768)
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.png"):
        encode(read_items(tmp_path / "pictures"), "pixels")

    class Model:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.full((len(texts), 384), 2.0)

    monkeypatch.setenv("METAAL_CACHE", str(tmp_path / "cache"))
    minilm_of(monkeypatch, Model)
    np.testing.assert_allclose(np.linalg.norm(encode(lines, "minilm"), axis=1), 1, atol=1e-5)


def test_report_of_a_rule_against_the_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "animals.csv", tmp_path / "report.csv"
    table(data, n=40, labelled=40)
    picture = tmp_path / "report.svg"
    report = ["report", str(data), "--policy", "max_herding", "--budget", "6", "--out", str(out)]
    assert main([*report, "--figure", str(picture)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    own = [float(row["correlation"]) for row in rows if row["rule"] == "max_herding"]
    assert len(own) == 6 and min(own) > 0.999
    assert picture.read_text().rstrip().endswith("</svg>")
