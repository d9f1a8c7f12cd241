"""NotMNIST from a small archive of the same layout, empty and broken files included."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from accelgrad.datasets import DownloadError, NotMNIST, UnsafeArchiveError

Image = pytest.importorskip("PIL.Image")

FONTS = [f"Font{i}.ttf" for i in range(12)]


def png(value, size=(28, 28)):
    stream = io.BytesIO()
    Image.new("L", size, value).save(stream, "png")
    return stream.getvalue()


def small_archive(*extra, letters="ABCDEFGHIJ"):
    """Every letter in every font, all pixels = 10 * font + letter; then the ``extra`` members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:

        def add(name, content):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        for label, letter in enumerate(letters):
            for number, font in enumerate(FONTS):
                stem = base64.b64encode(font.encode()).decode()
                add(f"notMNIST_small/{letter}/{stem}.png", png(10 * number + label))
        for member in extra:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                add(*member)
    return stream.getvalue()


@pytest.fixture
def publish(server, monkeypatch):
    """Put an archive on the local server in place of the real one."""
    monkeypatch.setattr(NotMNIST, "mirrors", (server.url,))

    def put(content):
        server.put("notMNIST_small.tar.gz", content)
        facts = {"size": len(content), "md5": hashlib.md5(content).hexdigest()}
        monkeypatch.setattr(NotMNIST, "resources", {"small": facts, "large": facts})
        return server

    return put


def test_every_image_is_read_with_its_letter_and_font(publish, tmp_path):
    publish(small_archive())
    train, test = NotMNIST(tmp_path, download=True), NotMNIST(tmp_path, train=False)
    assert (len(train), len(test)) == (108, 12)
    for dataset in (train, test):
        for (image, label), font in zip(dataset, dataset.fonts, strict=True):
            assert (image == 10 * FONTS.index(font) + label).all()


def test_the_archive_is_read_once_and_then_mapped(publish, tmp_path):
    server = publish(small_archive())
    NotMNIST(tmp_path, download=True)
    (tmp_path / "NotMNIST" / "notMNIST_small.tar.gz").unlink()
    again = NotMNIST(tmp_path)
    assert isinstance(again.records, np.memmap) and len(server.requests) == 1


def test_a_split_by_font_keeps_fonts_apart(publish, tmp_path):
    publish(small_archive())
    train = NotMNIST(tmp_path, download=True, split="font", test_fraction=0.25)
    test = NotMNIST(tmp_path, train=False, split="font", test_fraction=0.25)
    assert not set(train.fonts) & set(test.fonts)
    assert sorted(set(train.fonts) | set(test.fonts)) == sorted(FONTS) and len(test) == 30


def test_a_random_split_mixes_fonts(publish, tmp_path):
    publish(small_archive())
    train = NotMNIST(tmp_path, download=True, test_fraction=0.5)
    test = NotMNIST(tmp_path, train=False, test_fraction=0.5)
    assert set(train.fonts) & set(test.fonts)


def test_empty_broken_and_oddly_sized_images_are_skipped_and_named(publish, tmp_path, capsys):
    publish(
        small_archive(
            ("notMNIST_small/A/empty.png", b""),
            ("notMNIST_small/F/cut.png", png(0)[:40]),
            ("notMNIST_small/F/large.png", png(0, (29, 28))),
        )
    )
    train, test = NotMNIST(tmp_path, download=True), NotMNIST(tmp_path, train=False)
    assert len(train) + len(test) == 120
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert lines == [
        "notMNIST_small.tar.gz: skipped 3 unreadable files: notMNIST_small/A/empty.png,"
        " notMNIST_small/F/cut.png, notMNIST_small/F/large.png"
    ]


def test_a_name_that_is_no_base64_stands_for_itself(publish, tmp_path):
    publish(small_archive(("notMNIST_small/A/plain name.png", png(0))))
    fonts = NotMNIST(tmp_path, download=True).fonts + NotMNIST(tmp_path, train=False).fonts
    assert "plain name" in fonts


@pytest.mark.parametrize("kind", ["link", "outside"])
def test_a_hostile_archive_makes_no_array_file(publish, tmp_path, kind):
    if kind == "link":
        member = tarfile.TarInfo("notMNIST_small/A/x.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    else:
        member = ("notMNIST_small/../../evil.png", png(0))
    publish(small_archive(member))
    with pytest.raises(UnsafeArchiveError, match=r"notMNIST_small\.tar\.gz"):
        NotMNIST(tmp_path, download=True)
    assert not list(tmp_path.rglob("*.npy")) and not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_an_archive_of_unreadable_images_is_refused(publish, tmp_path):
    publish(small_archive(*[(f"notMNIST_small/A/{i}.png", b"") for i in range(20)]))
    with pytest.raises(RuntimeError, match="120 images could be read and 20 could not"):
        NotMNIST(tmp_path, download=True)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_wrong_digest_makes_no_file(publish, tmp_path, monkeypatch):
    publish(small_archive())
    facts = {**NotMNIST.resources["small"], "md5": "0" * 32}
    monkeypatch.setattr(NotMNIST, "resources", {"small": facts})
    with pytest.raises(DownloadError, match="its md5 is"):
        NotMNIST(tmp_path, download=True)
    assert [name for name in os.listdir(tmp_path / "NotMNIST") if not name.startswith(".")] == []


def test_an_archive_put_there_by_hand_needs_no_network(publish, tmp_path):
    content = small_archive()
    server = publish(content)
    (tmp_path / "NotMNIST").mkdir()
    (tmp_path / "NotMNIST" / "notMNIST_small.tar.gz").write_bytes(content)
    assert len(NotMNIST(tmp_path)) == 108 and server.requests == []


def test_without_download_the_folder_is_named(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"Dataset not found\. .*put notMNIST_large\.tar\.gz into .*NotMNIST"
    ):
        NotMNIST(tmp_path, size="large")


def test_a_damaged_array_file_is_named_and_left_as_it_is(publish, tmp_path):
    publish(small_archive())
    NotMNIST(tmp_path, download=True)
    path = tmp_path / "NotMNIST" / "notMNIST_small.npy"
    path.write_bytes(path.read_bytes()[:-100])
    size = path.stat().st_size
    with pytest.raises(RuntimeError, match=r"notMNIST_small\.npy is damaged"):
        NotMNIST(tmp_path, download=True)
    assert path.stat().st_size == size


def test_the_images_do_not_travel_with_the_dataset(publish, tmp_path):
    publish(small_archive())
    dataset = NotMNIST(tmp_path, download=True)
    content = pickle.dumps(dataset)
    assert len(content) < 3000 and (pickle.loads(content)[5][0] == dataset[5][0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "medium"}, "size must be one of small, large, got 'medium'"),
        ({"split": "fonts"}, "split must be 'random' or 'font'"),
        ({"test_fraction": 1.0}, "between 0 and 1"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        NotMNIST(tmp_path, **options)
