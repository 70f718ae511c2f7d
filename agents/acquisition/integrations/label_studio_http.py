"""Label Studio's ML-backend protocol over HTTP, on the standard library."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from metaal_env.errors import InputError

MAX_REQUEST = 256 * 2**20
"""Bytes."""


def make_server(
    backend: AcquisitionBackend, host: str = "127.0.0.1", port: int = 9090
) -> ThreadingHTTPServer:
    """An HTTP server with /health, /setup, /predict and /webhook; ``serve_forever`` runs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.rstrip("/") in ("", "/health"):
                self._reply(200, {"status": "UP", "model_class": "AcquisitionBackend"})
            else:
                self._reply(404, {"error": "unknown path"})

        def do_POST(self) -> None:
            try:
                body = self._body()
                route = self.path.split("?")[0].rstrip("/")
                if route == "/setup":
                    self._reply(200, {"model_version": backend.model_version})
                elif route == "/predict":
                    results = backend.predict(body.get("tasks") or [])
                    self._reply(200, {"results": results, "model_version": backend.model_version})
                elif route in ("/webhook", "/train"):
                    version = backend.fit(str(body.get("action", "")), body)
                    self._reply(201, {"model_version": version})
                else:
                    self._reply(404, {"error": "unknown path"})
            except (InputError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
                self._reply(400, {"error": str(error)})

        def _body(self) -> dict[str, Any]:
            size = int(self.headers.get("Content-Length") or 0)
            if not 0 <= size <= MAX_REQUEST:
                raise InputError("the request is too large; send fewer tasks at once.")
            body = json.loads(self.rfile.read(size) or b"{}")
            if not isinstance(body, dict):
                raise InputError("the request is no JSON object.")
            return body

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)
