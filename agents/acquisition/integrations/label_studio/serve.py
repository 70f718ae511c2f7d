"""``metaal serve``: the backend as a command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agents.acquisition.integrations.label_studio.backend import AcquisitionBackend
from agents.acquisition.integrations.label_studio.connection import Connection
from agents.acquisition.integrations.label_studio.server import make_server
from agents.acquisition.items.encoders import EncoderName
from agents.acquisition.policies import load_policy
from metaal_env.errors import InputError, brief
from metaal_env.runtime.command_line import say


@dataclass(frozen=True)
class Serve:
    """Score tasks for Label Studio: add http://<host>:<port> as its ML backend, order by uncertainty."""

    key: str | None = None
    """Entry of a task's data that is the item: a text, an image's address, or a list of numbers; by default the one
    that the label config shows."""
    policy: str | None = None
    """Rule, shipped policy, or run folder; by default metaal-pools."""
    encoder: EncoderName = "auto"
    """How texts and images become vectors; auto takes the best that is installed."""
    state: Path = Path("metaal_label_studio.sqlite")
    """File that keeps tasks and labels between runs; one per Label Studio."""
    local_files: Path | None = None
    """Folder of Label Studio's local files; by default its LOCAL_FILES_DOCUMENT_ROOT, else they are downloaded."""
    label_studio_url: str | None = None
    """Where Label Studio is, to read projects and uploads; by default LABEL_STUDIO_URL, else what its requests say. A
    token of yours belongs in LABEL_STUDIO_API_KEY."""
    host: str = "127.0.0.1"
    """Address to listen on; there is no authentication, so keep it private."""
    port: int = 9090
    """Port to listen on."""

    def run(self) -> None:
        """Serves until it is interrupted."""
        load_policy(self.policy)  # complain now, not at the first request
        url = self.label_studio_url or os.environ.get("LABEL_STUDIO_URL")
        backend = AcquisitionBackend(
            self.key,
            self.policy,
            self.encoder,
            state=self.state,
            local_files=self._local_files(),
            connection=Connection(url, os.environ.get("LABEL_STUDIO_API_KEY")) if url else None,
        )
        try:
            server = make_server(backend, self.host, self.port)
        except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: no name of a host
            raise InputError(
                f"host={self.host!r} and port={self.port} cannot be listened on ({brief(error)}); choose others."
            ) from error
        say(f"tasks and labels are kept in {self.state}.")
        say(f"listening on http://{self.host}:{server.server_port}; Ctrl-C stops.")
        try:
            server.serve_forever()
        finally:
            server.server_close()
            backend.close()

    def _local_files(self) -> Path | None:
        if self.local_files is not None:
            if not self.local_files.is_dir():
                raise InputError(f"local_files={str(self.local_files)!r} is not a folder; check the path.")
            return self.local_files
        for name in ("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "LOCAL_FILES_DOCUMENT_ROOT"):
            if os.environ.get(name) and Path(os.environ[name]).is_dir():
                return Path(os.environ[name])
        return None
