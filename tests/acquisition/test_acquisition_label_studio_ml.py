"""The backend behind label-studio-ml's own server, over HTTP; that package needs an environment of its own."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

api = pytest.importorskip("label_studio_ml.api")


def test_the_real_server_serves_the_most_useful_first(tmp_path: Path) -> None:
    from werkzeug.serving import make_server

    from agents.acquisition.integrations.label_studio import AcquisitionBackend
    from agents.acquisition.integrations.label_studio.ml_package import model_class

    model = model_class(AcquisitionBackend("vector", policy="k_center"))
    app = api.init_app(model, model_dir=str(tmp_path))
    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def call(path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", data, head)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    try:
        assert call("/health")["status"] == "UP"
        call("/setup", {"project": "1.1", "schema": "<View/>"})
        tasks: list[dict[str, Any]] = [
            {"id": i, "data": {"vector": [float(i), i % 2]}, "annotations": []} for i in range(9)
        ]
        first = call("/predict", {"tasks": tasks, "project": "1.1", "params": {}})["results"]
        best = int(np.argmin([p["score"] for p in first]))
        assert best in (3, 4, 5) and all(0 <= p["score"] < 1 and p["result"] == [] for p in first)
        tasks[best]["annotations"] = [{"result": [{"value": {"choices": ["a"]}}]}]
        second = call("/predict", {"tasks": tasks, "project": "1.1", "params": {}})["results"]
        assert second[best]["score"] == 1 and int(np.argmin([p["score"] for p in second])) in (0, 8)
        assert second[0]["model_version"] != first[0]["model_version"]
    finally:
        server.shutdown()
    event = {"task": {"id": 0}, "annotation": {"result": [{"value": {"choices": ["b"]}}]}}
    told = model().process_event("ANNOTATION_CREATED", event, "1", {})
    assert told["model_version"] not in (first[0]["model_version"], second[0]["model_version"])
