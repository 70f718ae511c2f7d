"""`AcquisitionBackend` behind the server of the package label-studio-ml, for those who deploy with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from agents.acquisition.integrations.label_studio.events import (
    DELETED_ANNOTATIONS,
    DELETED_TASKS,
    SET_ANNOTATIONS,
    SET_TASKS,
)
from metaal_env.errors import InputError

try:
    from label_studio_ml.model import LabelStudioMLBase
except ImportError as error:
    raise InputError(
        "label_studio_ml is not installed; `metaal serve` needs no such package. Its release 1.0.9 pins old "
        "versions, so give it an environment of its own: pip install -e . label-studio-ml redis rq."
    ) from error


def model_class(backend: AcquisitionBackend) -> type[LabelStudioMLBase]:
    """Returns the class that ``label_studio_ml.api.init_app`` takes. Every model of that class shares `backend`.

    The package hands events to another process, where they are lost to this one; the labels then come with the tasks of
    the requests, and at once where `backend` can read the project.
    """

    class MetaALModel(LabelStudioMLBase):
        TRAIN_EVENTS = (*SET_ANNOTATIONS, *DELETED_ANNOTATIONS, *SET_TASKS, *DELETED_TASKS, "PROJECT_UPDATED")

        def predict(self, tasks: Sequence[Mapping[str, Any]], **options: Any) -> list[dict[str, Any]]:
            return backend.predict(tasks, label_config=self.label_config)

        def fit(
            self, tasks: object, event: str = "", data: Mapping[str, Any] | None = None, **options: Any
        ) -> dict[str, str]:
            return {"model_version": backend.fit(event, data or {})}

    return MetaALModel
