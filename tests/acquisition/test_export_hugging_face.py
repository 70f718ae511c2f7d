"""``metaal export`` as Hugging Face's own library reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import SAID, export, labelled_photos, labelled_table


def test_hugging_face_takes_the_folders_for_classes(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    labelled_photos(work)
    export("--format", "imagefolder", "--out", "out", pool="photos")
    found = datasets.load_dataset("imagefolder", data_dir=str(work / "out"), cache_dir=str(work / "cache"))[
        "train"
    ]
    assert found.features["label"].names == ["%2E%2E", "wet%2Fdry"]
    assert {(row["image"].size[0], row["label"]) for row in found} == {(20 + i, 1 - i % 2) for i in range(5)}


def test_hugging_face_opens_the_folder(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    labelled_table(work / "pool.csv")
    for again in ([], ["--overwrite"]):
        export(*SAID, "--format", "datasets", "--out", "ds", "--unlabelled", *again)
    found = datasets.load_from_disk(str(work / "ds"))
    assert len(found) == 12 and found.features["label"].names == ['böse, "ape"', "bear"]
    assert found[0]["label"] == 0 and found[1]["label"] == 1 and found[4]["label"] is None
    assert found[0]["score"] == -0.25 and found[0]["ward"] == "003" and found[0]["score (data)"] == 3
    assert found[2]["opinions"] == [["ada", "bear"], ["bob", 'böse, "ape"']]


def test_hugging_face_decodes_the_pictures(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    labelled_photos(work)
    export("--format", "datasets", "--out", "ds", pool="photos")
    for path in (work / "photos").rglob("*.png"):
        path.unlink()  # the export stands alone
    found = datasets.load_from_disk(str(work / "ds"))
    assert [row["image"].size for row in found] == [(20 + i, 10) for i in range(5)]
