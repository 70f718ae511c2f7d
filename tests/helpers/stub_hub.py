"""A hub on this machine that speaks as much of Hugging Face's interface as its client needs for small files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """Holds repositories: name → file → content, and what was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.url = ""

    def sha(self, name: str) -> str:
        return hashlib.sha1(repr(sorted(self.repositories[name].items())).encode()).hexdigest()

    def info(self, name: str) -> dict[str, Any]:
        files = [{"rfilename": file} for file in self.repositories[name]]
        return {
            "id": name,
            "modelId": name,
            "sha": self.sha(name),
            "siblings": files,
            "tags": [],
            "private": False,
        }


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self.serve()

    def do_HEAD(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def serve(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        parts = path.strip("/").split("/")
        hub.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            hub.repositories.setdefault(name, {})
            hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.reply({"url": f"{hub.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif parts[:2] == ["api", "models"] and (name := "/".join(parts[2:4])) in hub.repositories:
            what = parts[4] if len(parts) > 4 else ""
            if what == "preupload":
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for file in json.loads(body)["files"]
                ]
                self.reply({"files": files})
            elif what == "commit":
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.repositories[name][line["value"]["path"]] = content
                    elif line["key"] == "header":
                        hub.messages.append(line["value"]["summary"])
                oid = hub.sha(name)
                url = f"{hub.url}/{name}/commit/{oid}"
                self.reply({"success": True, "commitUrl": url, "commitOid": oid, "hookOutput": ""})
            elif what == "tree":
                files = [
                    {
                        "type": "file",
                        "path": file,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for file, content in hub.repositories[name].items()
                ]
                self.reply(files)
            else:
                self.reply(hub.info(name))
        elif len(parts) > 4 and parts[2] == "resolve" and "/".join(parts[:2]) in hub.repositories:
            name, file = "/".join(parts[:2]), "/".join(parts[4:])
            content = hub.repositories[name].get(file)
            if content is None:
                self.reply({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            else:
                tag = hashlib.sha1(content).hexdigest()
                self.send(content, 200, {"ETag": f'"{tag}"', "X-Repo-Commit": hub.sha(name)})
        else:
            self.reply({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def reply(self, value: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(value).encode(), code, {"Content-Type": "application/json", **(headers or {})})

    def send(self, data: bytes, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def stub_hub() -> Iterator[Hub]:
    """Serves an empty hub on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
