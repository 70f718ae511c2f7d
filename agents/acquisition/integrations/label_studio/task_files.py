"""Files behind a task's data: local files, uploads to Label Studio, cloud storage and the web."""

from __future__ import annotations

import base64
import hashlib
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path, PurePosixPath

from agents.acquisition.integrations.label_studio.connection import TIMEOUT, Connection
from metaal_env.datasets.cache import cache_dir
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import write_atomic

MAX_FILE = 64 * 2**20
"""Bytes."""
CLOUDS = ("s3://", "gs://", "azure-blob://")
_LOCAL = "/data/local-files/"


@dataclass(frozen=True)
class TaskFiles:
    """Fetches the files that tasks name.

    Attributes:
        local_root: Folder of Label Studio's local files (its ``LOCAL_FILES_DOCUMENT_ROOT``).
        connection: To Label Studio, which hands out uploads, its local files and what lies in cloud storage.
    """

    local_root: Path | None = None
    connection: Connection | None = None

    @staticmethod
    def is_address(value: str) -> bool:
        """Tells whether a value names a file instead of being a text."""
        return value.startswith(("/data/", "http://", "https://", *CLOUDS)) and not any(
            map(str.isspace, value)
        )

    def path(self, value: str, task: int) -> Path:
        """Returns the file on this machine, downloaded if need be.

        Raises:
            InputError: a file that cannot be had; names what is missing.
        """
        parts = urllib.parse.urlsplit(value)
        if parts.path.endswith(_LOCAL.rstrip("/")) or _LOCAL in parts.path:
            query = urllib.parse.parse_qs(parts.query)
            if query.get("d"):
                return self._local(value, query["d"][0], task)
        if value.startswith(CLOUDS):
            name = base64.urlsafe_b64encode(value.encode()).decode()
            return self._download(value, f"/tasks/{task}/resolve/?fileuri={name}", task)
        if value.startswith(("http://", "https://", "/data/")):
            return self._download(value, value, task)
        raise InputError(f"task {task}: {value!r} is not the address of a file.")

    def _local(self, value: str, name: str, task: int) -> Path:
        if self.local_root is None:
            if self.connection is not None:
                return self._download(value, value, task)
            raise InputError(
                f"task {task}: {value!r} is a local file of Label Studio; start metaal serve with --local-files and "
                "the folder that is Label Studio's LOCAL_FILES_DOCUMENT_ROOT."
            )
        root = self.local_root.resolve()
        path = (root / name.lstrip("/")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise InputError(f"task {task}: there is no file {name!r} in local_files={str(root)!r}.")
        return path

    def _download(self, value: str, address: str, task: int) -> Path:
        connection = self.connection
        if connection is not None and connection.owns(address):
            address = address[len(connection.address("")) :]
        own = address.startswith("/")
        if own and connection is None:
            raise InputError(
                f"task {task}: {value!r} lies in Label Studio; start metaal serve with --label-studio-url and set "
                "LABEL_STUDIO_API_KEY."
            )
        full = connection.address(address) if own and connection is not None else address
        place = hashlib.blake2b(full.encode(), digest_size=16).hexdigest()
        suffix = PurePosixPath(urllib.parse.urlsplit(value).path).suffix[:8]
        path = cache_dir() / "label_studio" / f"{place}{suffix}"
        if path.is_file():
            return path
        try:
            with connection.open(address) if own and connection is not None else _open(address) as reply:
                content = reply.read(MAX_FILE + 1)
        except (OSError, ValueError) as error:
            mend = "check the address"
            if own and isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
                mend = "set LABEL_STUDIO_API_KEY to a token of yours"
            raise InputError(f"task {task}: {value!r} cannot be fetched ({brief(error)}); {mend}.") from error
        if len(content) > MAX_FILE:
            raise InputError(f"task {task}: {value!r} is larger than {MAX_FILE // 2**20} MiB.")
        write_atomic(path, content)
        return path


def _open(address: str) -> HTTPResponse:
    reply: HTTPResponse = urllib.request.urlopen(address, timeout=TIMEOUT)
    return reply
