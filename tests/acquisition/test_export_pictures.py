"""``metaal export`` of pictures and sounds: a folder a class, as torchvision reads it, and COCO's file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from helpers.exports import export, labelled_photos
from helpers.own_pools import sounds_pool
from PIL import Image

from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.export.pictures import class_folder, class_folders
from agents.acquisition.tool.session import Session
from metaal_env.datasets.sources.torchvision_images import torchvision_datasets


@pytest.mark.parametrize("link", [False, True])
def test_torchvision_reads_the_folder_of_folders(work: Path, link: bool) -> None:
    ImageFolder = torchvision_datasets().ImageFolder

    labelled_photos(work)
    for again in ([], ["--overwrite"]):  # ours may be replaced
        export(
            "--format", "imagefolder", "--out", "out", *(["--link"] if link else []), *again, pool="photos"
        )
    found = ImageFolder(str(work / "out"))
    assert found.classes == ["%2E%2E", "wet%2Fdry"] == sorted(map(class_folder, ["..", "wet/dry"]))
    assert sorted(image.size[0] for image, _ in found) == [20, 21, 22, 23, 24]
    assert {(image.size[0], found.classes[k]) for image, k in found} == {
        (20 + i, class_folder(("wet/dry", "..")[i % 2])) for i in range(5)
    }
    assert all(Path(path).is_symlink() == link for path, _ in found.samples)
    with (work / "out/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and all((work / "out" / row["file"]).is_file() for row in rows)
    assert {row["label"] for row in rows} == {"wet/dry", ".."} and rows[0]["policy"] == "uherding"


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (["ape", "Ape", "APE", "Ape-2"], ["ape", "Ape-2", "APE-3", "Ape-2-2"]),
        (["a/b", "a\\b", "..", "ärger", "50 %"], ["a%2Fb", "a%5Cb", "%2E%2E", "ärger", "50 %25"]),
    ],
)
def test_every_class_has_a_folder_of_its_own(classes: list[str], folders: list[str]) -> None:
    assert list(class_folders(classes).values()) == folders


def test_files_of_one_name_in_two_folders_stay_two(work: Path) -> None:
    for name in ("a/b.png", "a_b.png", "A_B.png"):
        path = work / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    session = Session.open(work / "photos.labels.csv", read_items(work / "photos"))
    for i in range(3):
        session.set(i, "c")
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="photos")
    assert len({path.name.casefold() for path in (work / "out" / "c").iterdir()}) == 3


def test_sounds_are_sorted_into_folders(work: Path) -> None:
    pytest.importorskip("soundfile", reason="needs the extra audio")
    sounds_pool(work / "sounds", 4)
    session = Session.open(work / "sounds.labels.csv", read_items(work / "sounds"))
    session.set(0, "hum")
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="sounds")
    assert len(list((work / "out" / "hum").iterdir())) == 1


def test_pictures_that_a_table_names_keep_their_place(work: Path) -> None:
    """Names of items are ids there, and a file may be called as a column of ours."""
    photos = labelled_photos(work)
    (work / "elsewhere.png").write_bytes((photos / "a" / "p 0.png").read_bytes())
    rows = ["k1,photos/b/p 1.png,red", f"k2,{work / 'elsewhere.png'},blue", "k3,photos/a/p 1.png,green"]
    (work / "pool.csv").write_text("\n".join(["id,image,file", *rows]) + "\n")
    items = read_items(work / "pool.csv", ReadOptions(meta=("file",)))
    assert items.kind == "images"
    session = Session.open(work / "pool.csv.labels.csv", items)
    for i in range(3):
        session.set(i, "c")
    session.save()
    export("--meta", "file", "--out", "o.jsonl")
    found = [json.loads(line) for line in (work / "o.jsonl").read_text().splitlines()]
    assert [row["file"] for row in found][::2] == ["photos/b/p 1.png", "photos/a/p 1.png"]
    assert Path(found[1]["file"]).resolve() == (work / "elsewhere.png").resolve()
    assert [row["file (data)"] for row in found] == ["red", "blue", "green"]
    export("--meta", "file", "--out", "sorted", "--format", "imagefolder")
    names = sorted(path.name for path in (work / "sorted" / "c").iterdir())
    assert len(names) == 3 and {"photos_a_p 1.png", "photos_b_p 1.png"} < set(names)


def test_pycocotools_reads_the_classes(work: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    labelled_photos(work)
    export("--format", "coco", "--out", "coco.json", "--unlabelled", pool="photos")
    found = coco.COCO(str(work / "coco.json"))
    numbers = {category["name"]: category["id"] for category in found.loadCats(found.getCatIds())}
    assert numbers.keys() == {"wet/dry", ".."} and len(found.getImgIds()) == 6
    images = found.loadImgs(found.getImgIds(catIds=[numbers["wet/dry"]]))
    assert sorted(image["width"] for image in images) == [20, 22, 24]
    assert all((work / "photos" / image["file_name"]).is_file() for image in images)
    note = found.loadAnns(found.getAnnIds(imgIds=[images[0]["id"]]))[0]
    assert note["attributes"]["policy"] == "uherding" and note["attributes"]["score"] == 0.5
