"""Pictures as printers, scanners and clinics leave them: CMYK, several pages, palettes, DICOM."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.web.pictures import Pictures
from metaal_env.datasets.readers.image_files import is_grey, open_image, read_picture
from metaal_env.errors import InputError

RAMP = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (30, 1))
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "grey": (90, 90, 90)}


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        ("jpg", "CMYK", {"quality": 95}),
        ("tif", "CMYK", {}),
        ("jpg", "YCbCr", {"quality": 95}),
        ("png", "P", {}),
        ("gif", "P", {}),
        ("tif", "P", {}),
        ("tif", "RGB", {"compression": "tiff_lzw"}),
        ("webp", "RGB", {"lossless": True}),
        ("webp", "RGBA", {"lossless": True}),
        ("tif", "RGBA", {}),
    ],
)
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_survive_every_mode(
    suffix: str, mode: str, options: dict[str, object], colour: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (32, 32), COLOURS[colour]).convert(mode).save(path, **options)
    assert Image.open(path).mode in (mode, "RGB", "P", "L")
    np.testing.assert_allclose(read_picture(path, "data", 4)[1, 1].astype(int), COLOURS[colour], atol=6)


@pytest.mark.parametrize("name", ["scan.tif", "film.gif", "film.webp"])
def test_of_several_pages_the_first_is_the_item_and_that_is_said(name: str, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in COLOURS.values()]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], lossless=True)
    pages[0].save(tmp_path / "a.png")
    pages[0].save(tmp_path / "single.gif")
    items = read_items(tmp_path)
    assert f"1 of several pages or frames, e.g. '{name}': the first one is the item" in items.understood
    np.testing.assert_allclose(
        read_picture(tmp_path / name, "data", 4)[0, 0].astype(int), (255, 0, 0), atol=3
    )


def scans(folder: Path, *names: str) -> list[Path]:
    """Files of scanners, which come with pydicom."""
    data = pytest.importorskip("pydicom.data", reason="needs the extra medical")
    folder.mkdir(exist_ok=True)
    found = [data.get_testdata_file(name, download=False) for name in names]
    return [Path(shutil.copy(place, folder / name)) for place, name in zip(found, names, strict=True)]


DICOM = {
    "MR_small.dcm": (64, 64),
    "CT_small.dcm": (128, 128),
    "MR_small_RLE.dcm": (64, 64),
    "MR_small_bigendian.dcm": (64, 64),
    "liver_1frame.dcm": (512, 512),
    "rtdose.dcm": (10, 10),
    "SC_rgb_rle_16bit.dcm": (100, 100),
    "examples_palette.dcm": (800, 350),
    "SC_ybr_full_422_uncompressed.dcm": (100, 100),
}


@pytest.mark.parametrize("name", DICOM)
def test_dicom(name: str, tmp_path: Path) -> None:
    (path,) = scans(tmp_path, name)
    image = open_image(path, "data")
    assert image.size == DICOM[name] and is_grey(image) == (image.mode == "L")
    assert (image.mode == "RGB") == any(part in name for part in ("rgb", "palette", "ybr"))
    low, high = image.convert("L").getextrema()
    assert high - low > 100
    items = read_items(tmp_path)
    assert list(items.ids) == [name] and encode(items, "pixels").shape == (1, 768)
    assert Pictures(items).rendered(0)[1].startswith("image/")
    assert ("of several pages or frames" in items.understood) == (name == "rtdose.dcm")


def test_compressed_and_plain_dicom_are_the_same_picture(tmp_path: Path) -> None:
    plain, packed = scans(tmp_path, "MR_small.dcm", "MR_small_RLE.dcm")
    np.testing.assert_array_equal(read_picture(plain, "data", 32), read_picture(packed, "data", 32))


def test_the_smallest_value_is_white_where_a_file_says_so(tmp_path: Path) -> None:
    from pydicom import dcmread

    (path,) = scans(tmp_path, "MR_small.dcm")
    before = np.asarray(open_image(path, "data"))
    data = dcmread(path)
    data.PhotometricInterpretation = "MONOCHROME1"
    data.save_as(path)
    np.testing.assert_array_equal(np.asarray(open_image(path, "data")), 255 - before)


def test_names_of_scanners_and_files_without_pictures(tmp_path: Path) -> None:
    good, damaged, plan = scans(tmp_path / "in", "MR_small.dcm", "MR_truncated.dcm", "rtplan.dcm")
    good.rename(good.with_name("IM000001"))
    damaged.rename(damaged.with_name("1.2.840.113619.2"))
    (tmp_path / "in" / "README").write_text("no picture")
    with pytest.raises(InputError, match=r"2 images cannot be read.*not a readable DICOM image"):
        encode(read_items(tmp_path / "in"), "pixels")
    with pytest.warns(
        UserWarning, match=r"2 unreadable images are left out: '1\.2\.840\.113619\.2', 'rtplan\.dcm'"
    ):
        items = read_items(tmp_path / "in", ReadOptions(skip_unreadable=True))
    assert list(items.ids) == ["IM000001"] and "1 without a suffix" in items.understood
    assert plan.exists()
