"""Label Studio's ML-backend protocol over HTTP, on the standard library."""

from __future__ import annotations

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.acquisition.integrations.label_studio.backend import AcquisitionBackend
from agents.acquisition.integrations.label_studio.events import project_number
from metaal_env.errors import InputError

MAX_REQUEST = 256 * 2**20
"""Bytes."""
_REFUSED = (InputError, TypeError, ValueError, AttributeError, KeyError, RecursionError, OverflowError)
Reply = tuple[int, dict[str, Any]]


def make_server(
    backend: AcquisitionBackend, host: str = "127.0.0.1", port: int = 9090
) -> ThreadingHTTPServer:
    """Returns an HTTP server that speaks Label Studio's protocol; its ``serve_forever`` runs it.

    It answers /health, /setup, /validate, /predict, /webhook, /train, /versions, /metrics, /is_training, /job_status.
    Refused requests are printed: Label Studio shows people no more than their status.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            try:
                body = self._body()
            except _REFUSED as error:
                self._reply(400, {"error": str(error)})
            else:
                self._answer(body)

        def _answer(self, body: dict[str, Any]) -> None:
            route = self.path.split("?")[0].rstrip("/") or "/"
            try:
                status, content = respond(backend, self.command, route, body)
            except _REFUSED as error:
                reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                print(f"{self.command} {route} refused: {reason}", file=sys.stderr, flush=True)
                status, content = 400, {"error": reason}
            except sqlite3.Error as error:  # a full disk, say
                print(f"{self.command} {route} failed: {error}", file=sys.stderr, flush=True)
                status, content = 500, {"error": f"tasks and labels cannot be kept ({error})."}
            self._reply(status, content)

        def _body(self) -> dict[str, Any]:
            size = int(self.headers.get("Content-Length") or 0)
            if not 0 <= size <= MAX_REQUEST:
                raise InputError("the request is too large; send fewer tasks at once.")
            body = json.loads(self.rfile.read(size) or b"{}")
            if not isinstance(body, dict):
                raise InputError("the request is not a JSON object.")
            return body

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass  # Label Studio has given up waiting; it asks again

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)


def respond(backend: AcquisitionBackend, method: str, route: str, body: dict[str, Any]) -> Reply:
    """Returns status and content for a request. Raises what the backend raises."""
    if route in ("/", "/health"):
        return 200, {"status": "UP", "model_class": "AcquisitionBackend"}
    if route == "/versions":
        project = body.get("project")
        return 200, {"versions": [version_of(backend, project)] if project else backend.versions()}
    if route == "/metrics":
        return 200, {}
    if route == "/is_training":
        return 200, {"is_training": False}
    if method != "POST":
        return 404, {"error": "unknown path"}
    if route == "/setup":
        return 200, {"model_version": backend.setup(body)}
    if route == "/validate":
        backend.validate(str(body.get("config") or body.get("label_config") or ""))
        return 200, {"status": "ok"}
    if route == "/predict":
        results = backend.predict(body.get("tasks") or [], body.get("project"), body.get("label_config"))
        version = results[0]["model_version"] if results else version_of(backend, body.get("project"))
        return 200, {"results": results, "model_version": version}
    if route == "/webhook":
        return 201, {"model_version": backend.fit(str(body.get("action", "")), body)}
    if route == "/train":  # Label Studio before 1.4.1 sends all annotated tasks
        return 201, {"model_version": backend.learn(body.get("annotations") or [], body.get("project"))}
    if route == "/job_status":
        return 200, {"job_status": "finished"}
    return 404, {"error": "unknown path"}


def version_of(backend: AcquisitionBackend, project: Any) -> str:
    """Returns the model version of a project as requests name it."""
    return backend.model_version(project_number(project))
