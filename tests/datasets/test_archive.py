"""Archives that would leave the folder, hold links, unpack without end or are cut off."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from accelgrad.datasets import UnsafeArchiveError, extract
from accelgrad.datasets.archive import members


def archive(path, *entries, mode="w:gz"):
    """A tar file of (name, content) or of TarInfo."""
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def read(path, allow=r"data/\w+\.txt", max_bytes=1000, **options):
    return list(members(path, allow, max_bytes=max_bytes, **options))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_the_allowed_files_come_in_order(tmp_path, mode):
    path = archive(tmp_path / "a.tar", ("data/b.txt", b"2"), ("data/a.txt", b"1"), mode=mode)
    assert read(path) == [("data/b.txt", b"2"), ("data/a.txt", b"1")]


def test_folders_and_harmless_other_names_are_skipped(tmp_path):
    folder = special("data", tarfile.DIRTYPE)
    path = archive(
        tmp_path / "a.tar.gz", folder, ("data/.DS_Store", b"x"), ("README", b"y"), ("data/a.txt", b"1")
    )
    assert read(path) == [("data/a.txt", b"1")]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "data/../../evil.txt", "/etc/evil.txt", "data\\..\\x.txt", "C:/x"]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    path = archive(tmp_path / "a.tar.gz", ("data/a.txt", b"1"), (name, b"evil"))
    with pytest.raises(UnsafeArchiveError, match="would leave the folder"):
        read(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_refused_even_where_its_name_is_not_asked_for(tmp_path, kind):
    path = archive(tmp_path / "a.tar.gz", special("other/link", kind, "../../etc/passwd"))
    with pytest.raises(UnsafeArchiveError, match="'other/link' is a link"):
        read(path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(tmp_path, kind):
    with pytest.raises(UnsafeArchiveError, match="no regular file"):
        read(archive(tmp_path / "a.tar.gz", special("data/a.txt", kind)))


def test_unpacking_stops_at_the_cap(tmp_path):
    path = archive(tmp_path / "a.tar.gz", *[(f"data/{i}.txt", bytes(400)) for i in range(5)])
    files = members(path, r"data/\w+\.txt", max_bytes=1000)
    assert [next(files)[0], next(files)[0]] == ["data/0.txt", "data/1.txt"]
    with pytest.raises(UnsafeArchiveError, match=r"stops at 'data/2\.txt'"):
        next(files)


def test_files_that_are_not_asked_for_count_towards_the_cap(tmp_path):
    with pytest.raises(UnsafeArchiveError, match="1,000 bytes in all"):
        read(archive(tmp_path / "a.tar.gz", ("bomb", bytes(10_000_000))))


def test_one_file_has_a_cap_of_its_own(tmp_path):
    with pytest.raises(UnsafeArchiveError, match="50 in one file"):
        read(archive(tmp_path / "a.tar.gz", ("data/a.txt", bytes(51))), max_file_bytes=50)


def test_an_archive_that_is_cut_off_is_named(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("data/a.txt", os.urandom(900)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RuntimeError, match=r"a\.tar\.gz is damaged or no tar archive"):
        read(path)


def test_a_page_of_html_is_no_archive(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"<html>" * 100)
    with pytest.raises(RuntimeError, match="no tar archive"):
        read(path)


def test_extract_writes_the_allowed_files(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("data/a.txt", b"1"), ("data/skip.png", b"2"))
    folder = extract(path, tmp_path / "out", r"data/\w+\.txt", max_bytes=100)
    assert [str(p.relative_to(folder)) for p in folder.rglob("*.*")] == ["data/a.txt"]
    assert (folder / "data" / "a.txt").read_bytes() == b"1"


def test_extract_writes_all_or_nothing(tmp_path):
    path = archive(
        tmp_path / "a.tar.gz", ("data/a.txt", b"1"), special("data/b.txt", tarfile.SYMTYPE, "/etc")
    )
    with pytest.raises(UnsafeArchiveError):
        extract(path, tmp_path / "out", r"data/\w+\.txt", max_bytes=100)
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_extract_leaves_a_folder_that_exists(tmp_path):
    path = archive(tmp_path / "a.tar.gz", ("data/a.txt", b"1"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="left as it is"):
        extract(path, tmp_path / "out", r"data/\w+\.txt", max_bytes=100)
    assert os.listdir(tmp_path / "out") == ["mine.txt"]
