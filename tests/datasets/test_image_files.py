"""Folders of images as cameras, browsers, scanners and notebooks leave them."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.datasets import load_dataset
from metaal_env.datasets.readers import image_files as image_files_module
from metaal_env.datasets.readers.image_files import image_files, is_grey, open_image, read_picture
from metaal_env.errors import InputError

RAMP = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (30, 1))


def save(path: Path, values: np.ndarray = RAMP, mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/a-checkpoint.png",
        ".thumbnails/a.png",
        "__MACOSX/._a.png",
        "b/._a.png",
        "@eaDir/a.png",
    ],
)
def test_hidden_and_service_files_are_no_items(hidden: str, tmp_path: Path) -> None:
    save(tmp_path / "b" / "a.png")
    save(tmp_path / hidden)
    assert list(read_items(tmp_path).ids) == ["b/a.png"]


@pytest.mark.parametrize(
    "name",
    ["a.tif", "a.TIFF", "a.ppm", "a.pgm", "a.jfif", "a.JPG", "a.gif", "a.webp", "a.bmp", "a.jp2", "a.tga"],
)
def test_every_common_format_is_an_item(name: str, tmp_path: Path) -> None:
    save(tmp_path / name, mode="L" if name == "a.pgm" else "RGB")
    items = read_items(tmp_path)
    assert list(items.ids) == [name] and encode(items, "pixels").shape == (1, 768)


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files_module, "dicom_available", lambda: False)
    save(tmp_path / "a.png")
    for name in ("scan.dcm", "logo.svg", "raw.nef", "notes.txt", "index"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "unfetched.png").symlink_to("nowhere")
    with pytest.warns(
        UserWarning,
        match=r"left out \(1 \.dcm, 1 \.nef, 1 \.svg\); pip install pydicom, or convert",
    ):
        items = read_items(tmp_path)
    assert "1 .txt" in items.understood and "1 without a suffix" in items.understood
    assert "1 behind broken links" in items.understood
    (tmp_path / "a.png").unlink()
    with (
        warnings.catch_warnings(),
        pytest.raises(InputError, match=r"holds no images or sounds, only 1 \.dcm.*\(e\.g\. WAV\)"),
    ):
        warnings.simplefilter("ignore")
        read_items(tmp_path)


def test_orientation_of_the_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right
    turned = save(tmp_path / "turned.png", np.rot90(RAMP), exif=exif)
    upright = save(tmp_path / "upright.png")
    np.testing.assert_array_equal(read_picture(turned, "data", 16), read_picture(upright, "data", 16))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_lies_under_transparency_does_not_count(mode: str, tmp_path: Path) -> None:
    pictures = []
    for colour in (0, 200):
        values = np.full((20, 20, 4), 255, np.uint8)
        values[:10] = (colour, colour, colour, 0)
        image = Image.fromarray(values)
        if mode == "P":
            image = Image.fromarray(np.where(np.arange(20)[:, None] < 10, 0, 1) * np.ones((1, 20), int) + 0.0)
            image = image.convert("L").convert("P")
            image.putpalette([colour] * 3 + [255] * 3)
            image.save(tmp_path / f"{colour}.png", transparency=0)
        else:
            image.convert(mode).save(tmp_path / f"{colour}.png")
        pictures.append(read_picture(tmp_path / f"{colour}.png", "data", 16))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] == 255).all()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("xray.png", 16 * RAMP.astype(np.uint16)),  # 12 bits in 16, as detectors give them
        ("xray.tif", 257 * RAMP.astype(np.uint16)),
        ("float.tif", RAMP.astype(np.float32) / 255),
        ("int.tif", 1000 * RAMP.astype(np.int32)),
    ],
)
def test_deep_images_are_stretched_to_eight_bits(name: str, values: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / name)
    Image.fromarray(RAMP).save(tmp_path / "plain.png")
    assert is_grey(open_image(tmp_path / name, "data"))
    deep, plain = (read_picture(tmp_path / n, "data", 16, grey=True) for n in (name, "plain.png"))
    np.testing.assert_allclose(deep.astype(int), plain.astype(int), atol=1)


def deep_png(path: Path, values: np.ndarray) -> Path:
    """Writes (H, W, 2 to 4) values of 16 bits, which Pillow does not."""
    kind = {2: 4, 3: 2, 4: 6}[values.shape[-1]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(
                struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            )
    return path


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_colours_are_stretched_together(channels: int, tmp_path: Path) -> None:
    """Microscopes give 12 bits in 16, of which the upper 8 alone would be nearly black."""
    n_colours = channels - (channels % 2 == 0)
    values = np.repeat(16 * RAMP.astype(np.uint16)[..., None], channels, -1)
    values[..., n_colours:] = 65535  # opaque
    values[..., 1:n_colours] //= 2  # colours keep their proportions
    picture = read_picture(deep_png(tmp_path / "a.png", values), "data", 16).astype(int)
    np.testing.assert_allclose(picture[0, :, 0], np.linspace(6, 252, 16), atol=18)
    if n_colours == 3:
        np.testing.assert_allclose(picture[..., 1], picture[..., 0] / 2, atol=12)
    if channels == 4:
        values[:15, :, :3], values[:15, :, 3] = 65535, 0  # what is transparent does not count
        half = read_picture(deep_png(tmp_path / "b.png", values), "data", 16).astype(int)
        np.testing.assert_array_equal(half[8:], picture[8:])
        assert (half[:8] == 255).all()


def test_deep_images_are_training_data_too(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.fromarray(RAMP.astype(np.uint16) * (i + 1)).save(tmp_path / label / f"{i}.png")
    data = load_dataset(str(tmp_path))
    assert data.input_shape == (1, 28, 28) and int(data.inputs.max()) == 255
    save(tmp_path / "stray.png")
    with pytest.warns(UserWarning, match="1 images lie beside the folders of the classes"):
        assert len(load_dataset(str(tmp_path))) == 4


def test_broken_files_are_listed_or_skipped(tmp_path: Path) -> None:
    whole = save(tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_bytes(b"<html>404</html>")
    with pytest.raises(
        InputError, match=r"2 images cannot be read.*cut\.png.*text\.png.*add --skip-unreadable\."
    ):
        encode(read_items(tmp_path), "pixels")
    (tmp_path / "cut.png").rename(tmp_path / "cut.bak")
    with pytest.raises(InputError, match=r"text\.png.*replace or delete it, or add --skip-unreadable\."):
        encode(read_items(tmp_path), "pixels")
    (tmp_path / "cut.bak").rename(tmp_path / "cut.png")
    with pytest.warns(UserWarning, match=r"2 unreadable images are left out: 'cut\.png', 'text\.png'"):
        items = read_items(tmp_path, ReadOptions(skip_unreadable=True))
    assert list(items.ids) == ["good.png"]


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [path.name for path in image_files(tmp_path).paths] == ["0.png"]
