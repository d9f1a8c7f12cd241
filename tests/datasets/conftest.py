"""A small web server on this machine that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Page:
    """One file on the server, and how it is served."""

    content: bytes
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ignores_range: bool = False
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, per request
    statuses: list[int] = field(default_factory=list)  # answered instead, per request
    says_length: bool = True
    on_request: Callable[[], None] | None = None


class Server:
    """Files under ``url``; ``requests`` lists (path, Range, If-Range) of what was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None, str | None]] = []

    def put(self, path: str, content: bytes, **how: object) -> Page:
        self.pages["/" + path] = Page(content, **how)  # type: ignore[arg-type]
        return self.pages["/" + path]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            condition = self.headers.get("If-Range")
            served.requests.append((self.path, asked, condition))
            page = served.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            if page.on_request is not None:
                page.on_request()
            if page.statuses:
                self.send_error(page.statuses.pop(0))
                return
            content, start = page.content, 0
            unchanged = condition is None or condition in (page.etag, page.last_modified)
            if asked is not None and unchanged and not page.ignores_range:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if page.says_length:
                self.send_header("Content-Length", str(len(content) - start))
            if page.etag is not None:
                self.send_header("ETag", page.etag)
            if page.last_modified is not None:
                self.send_header("Last-Modified", page.last_modified)
            self.end_headers()
            stop = start + page.cut_after.pop(0) if page.cut_after else len(content)
            self.wfile.write(content[start:stop])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{http.server_address[1]}/")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    http.shutdown()
    thread.join()
    http.server_close()
