"""`AcquisitionBackend` behind the server of the package label-studio-ml, for those who deploy with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from metaal_env.errors import InputError

try:
    from label_studio_ml.model import LabelStudioMLBase
except ImportError as error:
    raise InputError(
        "label_studio_ml is not installed; `metaal serve` needs no such package. Its release 1.0.9 pins old "
        "versions, so give it an environment of its own: pip install metaal label-studio-ml redis rq."
    ) from error


def model_class(backend: AcquisitionBackend) -> type[LabelStudioMLBase]:
    """What ``label_studio_ml.api.init_app`` takes: every model of that class shares `backend`."""

    class MetaALModel(LabelStudioMLBase):
        def predict(self, tasks: Sequence[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
            return backend.predict(tasks)

        def fit(
            self, tasks: object, event: str = "", data: Mapping[str, Any] | None = None, **options: Any
        ) -> dict[str, str]:
            return {"model_version": backend.fit(event, data or {})}

    return MetaALModel
