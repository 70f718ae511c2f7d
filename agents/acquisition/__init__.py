"""Label your own pool: `query` on arrays, `MetaALQuery` for scikit-activeml, ``python -m agents.acquisition``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.acquisition.integrations.modal import modal_strategy
from agents.acquisition.policies import load_policy
from agents.acquisition.query import query
from agents.pretrained import shipped_policies
from agents.sharing import from_pretrained, push_to_hub, save_pretrained
from metaal_env.errors import InputTypeError

if TYPE_CHECKING:
    from agents.acquisition.integrations.scikit_activeml import MetaALQuery as MetaALQuery
    from agents.acquisition.items.encoders import encode as encode
    from agents.acquisition.items.read_items import read_items as read_items

__all__ = [
    "InputTypeError",
    "MetaALQuery",
    "encode",
    "from_pretrained",
    "load_policy",
    "modal_strategy",
    "push_to_hub",
    "query",
    "read_items",
    "save_pretrained",
    "shipped_policies",
]


def __getattr__(name: str) -> Any:
    # Lazily: scikit-activeml takes seconds to import, and is optional; `query` alone needs no readers.
    if name == "MetaALQuery":
        from agents.acquisition.integrations.scikit_activeml import MetaALQuery

        return MetaALQuery
    if name == "read_items":
        from agents.acquisition.items.read_items import read_items

        return read_items
    if name == "encode":
        from agents.acquisition.items.encoders import encode

        return encode
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
