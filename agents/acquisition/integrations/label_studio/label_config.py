"""Reads from a label config what a project's labelling interface shows and asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

from metaal_env.errors import InputError, brief

SHOWN = {"Text", "HyperText", "Image", "Paragraphs"}
"""Objects that can be encoded; sounds, videos and time series cannot."""
CLASSIFIES = {"Choices", "Taxonomy", "Rating", "Pairwise"}
"""Controls whose answers are classes of a whole task."""
MAX_LENGTH = 4 * 2**20
VARIABLE = re.compile(r"\$([A-Za-z_][\w.\[\]]*)")
"""A part of a task's data, as values of a label config name it."""


@dataclass(frozen=True)
class LabelConfig:
    """Says what a project shows and asks for.

    Attributes:
        objects: Entry of a task's data that is shown → its tag, e.g. ``"text"`` → ``"Text"``. Entries may be paths
            (``"meta.text"``), or templates of several (``"$title: $body"``).
        controls: Name of each control that classifies whole tasks → its tag.
        choices: The classes, where the only control is one `Choices` with a single answer; else empty.
        addresses: Entries that hold the address of what is shown (``valueType="url"``).
    """

    objects: dict[str, str] = field(default_factory=dict)
    controls: dict[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    addresses: frozenset[str] = frozenset()

    @property
    def usable(self) -> list[str]:
        """Returns the entries that can be encoded."""
        return [key for key, tag in self.objects.items() if tag in SHOWN]

    def key(self, wanted: str | None) -> str:
        """Returns the entry of a task's data that is the item: `wanted`, or the only one that is shown.

        Raises:
            InputError: several are shown and none was named, or none can be encoded.
        """
        if wanted is not None:
            return wanted
        if len(self.usable) == 1:
            return self.usable[0]
        if self.usable:
            names = ", ".join(self.usable)
            raise InputError(
                f"the label config shows {names}; start metaal serve with --key and one of them."
            )
        if self.objects:
            kinds = ", ".join(f"{key} ({tag})" for key, tag in self.objects.items())
            raise InputError(f"the label config shows {kinds}, but metaal encodes texts and images only.")
        return "text"


def read_label_config(text: str) -> LabelConfig:
    """Reads a label config. An empty one says nothing.

    Raises:
        InputError: no XML.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"the label config has {len(text):,} characters, more than {MAX_LENGTH:,}.")
    if not text.strip():
        return LabelConfig()
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"the label config is not valid XML ({brief(error)}).") from error
    objects: dict[str, str] = {}
    controls: dict[str, str] = {}
    choices: tuple[str, ...] = ()
    addresses: set[str] = set()
    single = False
    for element in root.iter():
        value = element.get("value") or element.get("valueList") or ""
        if VARIABLE.search(value) and element.get("name") and not element.get("toName"):
            whole = VARIABLE.fullmatch(value)
            entry = whole[1] if whole else value
            objects[entry] = element.tag
            if (element.get("valueType") or "").lower() == "url":
                addresses.add(entry)
        if element.tag in CLASSIFIES and element.get("toName") and not _of_regions(element):
            controls[element.get("name") or element.tag] = element.tag
            if element.tag == "Choices":
                names = [c.get("alias") or c.get("value") for c in element.iter("Choice")]
                choices = tuple(name for name in names if name and not name.startswith("$"))
                single = element.get("choice", "single") != "multiple"
    choices = choices if single and len(controls) == 1 else ()
    return LabelConfig(objects, controls, choices, frozenset(addresses))


def _of_regions(element: ElementTree.Element) -> bool:
    return (element.get("perRegion") or "").lower() == "true"
