"""The downloader against a server that cuts, refuses, lies and changes its files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import urllib.error

import pytest

from accelgrad.datasets import DownloadError, RemoteFile, download
from accelgrad.datasets.downloader import mismatch

CONTENT = bytes(range(256)) * 1000


def remote(server, *paths, content=CONTENT, **known):
    known.setdefault("size", len(content))
    known.setdefault("sha256", hashlib.sha256(content).hexdigest())
    return RemoteFile("file.bin", tuple(server.url + path for path in paths), **known)


def fetch(file, folder, **options):
    return download(file, folder, progress=False, pause=0.0, timeout=10.0, **options)


def test_a_file_is_fetched_checked_and_named(server, tmp_path):
    server.put("a", CONTENT)
    path = fetch(remote(server, "a"), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT


def test_nothing_but_the_file_and_its_lock_is_left(server, tmp_path):
    server.put("a", CONTENT)
    fetch(remote(server, "a"), tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".file.bin.lock", "file.bin"]


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    server.put("a", CONTENT)
    fetch(remote(server, "a"), tmp_path)
    fetch(remote(server, "a"), tmp_path)
    assert len(server.requests) == 1


def test_a_cut_connection_is_resumed_with_range_and_if_range(server, tmp_path):
    server.put("a", CONTENT, cut_after=[100_000, 50_000])
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [
        ("/a", None, None),
        ("/a", "bytes=100000-", '"v1"'),
        ("/a", "bytes=150000-", '"v1"'),
    ]


def test_many_cuts_are_survived_as_long_as_each_brings_something(server, tmp_path):
    server.put("a", CONTENT, cut_after=[20_000] * 12)
    assert fetch(remote(server, "a"), tmp_path, attempts=2).read_bytes() == CONTENT


def test_a_download_that_was_broken_off_goes_on_in_the_next_call(server, tmp_path):
    server.put("a", CONTENT, cut_after=[70_000, 0, 0])
    with pytest.raises(DownloadError, match="kept and will be resumed"):
        fetch(remote(server, "a"), tmp_path, attempts=2)
    assert (tmp_path / "file.bin.part").stat().st_size == 70_000
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=70000-", '"v1"')


def test_the_date_serves_where_the_etag_is_weak(server, tmp_path):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server.put("a", CONTENT, etag='W/"v1"', last_modified=date, cut_after=[1000])
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[1] == ("/a", "bytes=1000-", date)


def test_a_server_that_ignores_range_sends_the_file_whole(server, tmp_path):
    server.put("a", CONTENT, ignores_range=True, cut_after=[100_000])
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[1][1] == "bytes=100000-"


def test_a_server_that_ignores_range_and_always_cuts_is_given_up(server, tmp_path):
    server.put("a", CONTENT, ignores_range=True, cut_after=[100_000] * 50)
    with pytest.raises(DownloadError, match="closed after 100,000 of 256,000 bytes"):
        fetch(remote(server, "a"), tmp_path)
    assert len(server.requests) <= 5


def test_a_file_that_changes_between_two_requests_is_taken_whole(server, tmp_path):
    new = CONTENT[::-1]
    page = server.put("a", CONTENT, cut_after=[100_000])

    def change():
        if len(server.requests) == 2:
            page.content, page.etag = new, '"v2"'

    page.on_request = change
    assert fetch(remote(server, "a", content=new), tmp_path).read_bytes() == new


def test_a_part_of_another_version_is_fetched_anew_when_the_digest_fails(server, tmp_path):
    server.put("a", CONTENT)
    (tmp_path / "file.bin.part").write_bytes(b"\xff" * 1000)
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert [request[1] for request in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_too_long_is_begun_again(server, tmp_path):
    server.put("a", CONTENT)
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_complete_needs_no_request(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_without_size_and_digest_a_part_of_unknown_origin_is_not_trusted(server, tmp_path):
    server.put("a", CONTENT)
    (tmp_path / "file.bin.part").write_bytes(b"\xff" * 1000)
    file = RemoteFile("file.bin", (server.url + "a",))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", None, None)]


def test_a_range_beyond_the_end_is_begun_again(server, tmp_path):
    server.put("a", CONTENT)
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    file = RemoteFile("file.bin", (server.url + "a",), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [request[1] for request in server.requests] == ["bytes=256004-", None]


def test_the_next_mirror_is_asked_when_one_has_no_such_file(server, tmp_path):
    server.put("b", CONTENT)
    assert fetch(remote(server, "a", "b"), tmp_path).read_bytes() == CONTENT
    assert [request[0] for request in server.requests] == ["/a", "/b"]


def test_the_next_mirror_resumes_what_the_first_began(server, tmp_path):
    server.put("a", CONTENT, cut_after=[100_000, 0, 0, 0])
    server.put("b", CONTENT)
    assert fetch(remote(server, "a", "b"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/b", "bytes=100000-", None)


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.put("a", CONTENT, statuses=[503, 429])
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_mirror_with_a_wrong_digest_is_passed_over(server, tmp_path):
    server.put("a", bytes(len(CONTENT)))
    server.put("b", CONTENT)
    assert fetch(remote(server, "a", "b"), tmp_path).read_bytes() == CONTENT


def test_a_wrong_digest_everywhere_leaves_no_file(server, tmp_path):
    server.put("a", bytes(len(CONTENT)))
    with pytest.raises(DownloadError, match=r"arrived, but its sha256 is .* instead of"):
        fetch(remote(server, "a"), tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".file.bin.lock"]


def test_both_digests_must_be_right(server, tmp_path):
    server.put("a", CONTENT)
    with pytest.raises(DownloadError, match="its md5 is"):
        fetch(remote(server, "a", md5="0" * 32), tmp_path)


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server, tmp_path):
    server.put("a", b"<html>moved</html>")
    with pytest.raises(DownloadError, match="serves 18 bytes instead of 256,000"):
        fetch(remote(server, "a"), tmp_path)
    assert not (tmp_path / "file.bin.part").exists()


def test_a_server_that_names_no_length_cannot_send_without_end(server, tmp_path):
    server.put("a", CONTENT * 3, says_length=False)
    with pytest.raises(DownloadError, match="more than the 256,000 bytes"):
        fetch(remote(server, "a"), tmp_path)
    assert (tmp_path / "file.bin.part").stat().st_size <= len(CONTENT)


def test_a_server_that_names_no_length_is_fine(server, tmp_path):
    server.put("a", CONTENT, says_length=False)
    assert fetch(remote(server, "a"), tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_is_named_and_left_as_it_is(server, tmp_path):
    server.put("a", CONTENT)
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(RuntimeError, match=r"file\.bin is damaged or another file: it has 4 bytes"):
        fetch(remote(server, "a"), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"mine"
    assert server.requests == []


def test_without_a_network_the_message_names_the_folder_and_the_file(tmp_path, monkeypatch):
    def offline(*args, **options):
        raise urllib.error.URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr("urllib.request.urlopen", offline)
    file = RemoteFile("file.bin", ("https://nowhere.invalid/file.bin",), size=5, md5="0" * 32)
    with pytest.raises(DownloadError) as caught:
        fetch(file, tmp_path)
    text = str(caught.value)
    assert "could not download file.bin (5 bytes)" in text
    assert "https://nowhere.invalid/file.bin: [Errno -3] Temporary failure in name resolution" in text
    assert f"put it into\n  {tmp_path}\nunder the name file.bin" in text
    assert f"md5 {'0' * 32}" in text


def test_a_refused_connection_is_tried_as_often_as_asked(tmp_path, monkeypatch):
    calls = []

    def refused(*args, **options):
        calls.append(args)
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr("urllib.request.urlopen", refused)
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(RemoteFile("f", ("http://127.0.0.1/f",)), tmp_path, attempts=4)
    assert len(calls) == 4


def test_an_error_of_the_disk_is_not_taken_for_one_of_the_network(server, tmp_path, monkeypatch):
    server.put("a", CONTENT)

    def full(path, mode="r", *args, **options):
        if str(path).endswith(".part"):
            raise OSError(28, "No space left on device")
        return open(path, mode, *args, **options)

    monkeypatch.setattr("accelgrad.datasets.downloader.open", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        fetch(remote(server, "a"), tmp_path)
    assert len(server.requests) == 1


def test_two_threads_fetch_a_file_once(server, tmp_path):
    server.put("a", CONTENT)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(remote(server, "a"), tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tmp_path / "file.bin"] * 4
    assert len(server.requests) == 1


def test_two_processes_fetch_a_file_once(server, tmp_path):
    server.put("a", CONTENT)
    program = (
        "import sys; from accelgrad.datasets import RemoteFile, download\n"
        "path = download(RemoteFile('file.bin', (sys.argv[1],), size=256000), sys.argv[2], progress=False)\n"
        "print(path.stat().st_size)"
    )
    command = [sys.executable, "-c", program, server.url + "a", str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["256000\n"] * 2
    assert len(server.requests) == 1


def test_the_progress_bar_counts_bytes_on_standard_error(server, tmp_path, capsys):
    server.put("a", CONTENT)
    download(remote(server, "a"), tmp_path, pause=0.0)
    captured = capsys.readouterr()
    assert "file.bin" in captured.err and "250k/250k" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".."])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(ValueError, match="plain file name"):
        RemoteFile(name, ())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x"])
def test_only_the_web_is_fetched(url):
    with pytest.raises(ValueError, match="only http and https"):
        RemoteFile("x", (url,))


def test_mismatch_is_silent_about_the_right_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    right = RemoteFile("x", (), size=3, md5="900150983cd24fb0d6963f7d28e17f72")
    assert mismatch(path, right) is None
    assert mismatch(path, RemoteFile("x", (), size=4)) == "it has 3 bytes instead of 4"
