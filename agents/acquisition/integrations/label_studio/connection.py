"""Reads from a Label Studio with its access token."""

from __future__ import annotations

import base64
import json
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

from metaal_env.errors import InputError, brief

TIMEOUT = 20.0
MAX_EXPORT = 1 << 30
"""Bytes."""


@dataclass(frozen=True)
class Connection:
    """Says where a Label Studio is and what opens it.

    Attributes:
        url: Address, e.g. ``"http://localhost:8080"``.
        token: Access token: a legacy one, or a personal one, which is exchanged for a short-lived one at each use.
    """

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"label_studio_url={self.url!r} must begin with http:// or https://.")

    def address(self, path: str) -> str:
        """Returns the full address of a path on this server."""
        return self.url.rstrip("/") + path

    def owns(self, address: str) -> bool:
        """Tells whether an address lies on this server, which alone may see the token."""
        return address.startswith(self.address("/"))

    def open(self, path: str) -> HTTPResponse:
        """Opens a path of this server. Raises: `OSError` as urllib does."""
        request = urllib.request.Request(self.address(path))
        if self.token is not None:
            # Not sent on to the storage to which Label Studio redirects.
            request.add_unredirected_header("Authorization", self._credentials(self.token))
        reply: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
        return reply

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """Returns all tasks of a project with their annotations.

        Raises:
            InputError: no such server, no access, or another answer than Label Studio's.
        """
        path = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
        try:
            with self.open(path) as reply:
                tasks = json.loads(reply.read(MAX_EXPORT))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.url}: project {project} cannot be read ({brief(error)}).") from error
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "id" in task for task in tasks):
            raise InputError(f"{self.url}: project {project} is not a list of tasks.")
        return tasks

    def _credentials(self, token: str) -> str:
        if not _is_personal(token):
            return f"Token {token}"
        body = json.dumps({"refresh": token}).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address("/api/token/refresh"), body, head)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            return f"Bearer {json.load(reply)['access']}"


def _is_personal(token: str) -> bool:
    """Personal tokens are JSON web tokens: three parts, the first of which is JSON."""
    head, *rest = token.split(".")
    try:
        return len(rest) == 2 and isinstance(json.loads(base64.urlsafe_b64decode(head + "==")), dict)
    except ValueError:
        return False
