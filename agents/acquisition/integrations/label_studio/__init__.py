"""A Label Studio ML backend: tasks are scored so that its uncertainty sampling serves the most useful first."""

from agents.acquisition.integrations.label_studio.backend import AcquisitionBackend

__all__ = ["AcquisitionBackend"]
