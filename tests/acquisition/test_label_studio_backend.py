"""The Label Studio backend: events as they are sent, comparable scores, and what survives a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.label_studio_requests import CHOICES, annotation, event, event_task, predict, region, setup, task
from scipy.stats import spearmanr

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from metaal_env.errors import FileError, InputError

TEXTS = {i: f"{'red fox' if i % 2 else 'blue bird'} number {i % 5} of {i}" for i in range(1, 21)}
TASKS = [task(i, text) for i, text in TEXTS.items()]


def backend_of(**options: Any) -> AcquisitionBackend:
    return AcquisitionBackend(policy="uherding", encoder="tfidf", report=lambda line: None, **options)


def ask(backend: AcquisitionBackend, tasks: list[dict[str, Any]]) -> dict[int, tuple[float, str]]:
    found = backend.predict(tasks, "2.1795883112", CHOICES)
    return {t["id"]: (p["score"], p["model_version"]) for t, p in zip(tasks, found, strict=True)}


def labels(backend: AcquisitionBackend) -> dict[int, Any]:
    """What the backend holds of each task that somebody has done."""
    answers = backend.pools.snapshot(2).answers
    return {i: answer.label for i, answer in answers.items() if answer.done}


def send(backend: AcquisitionBackend, action: str, **content: Any) -> str:
    return backend.fit(action, event(action, **content))


def created(backend: AcquisitionBackend, ident: int, number: int, *choices: str, **changes: Any) -> str:
    made = annotation(number, ident, *choices, **changes)
    return send(backend, "ANNOTATION_CREATED", annotation=made, task=event_task(ident, TEXTS[ident]))


def test_the_most_useful_is_served_first_and_labels_renew_the_version() -> None:
    backend = backend_of()
    first = ask(backend, TASKS)
    assert sorted(score for score, _ in first.values()) == [i / 21 for i in range(20)]
    best = min(first, key=lambda i: first[i][0])
    version = created(backend, best, 1, "bird")
    assert version == backend.model_version(2) != first[best][1]
    done = [task(best, TEXTS[best], annotation(1, best, "bird")), *(t for t in TASKS if t["id"] != best)]
    second = ask(backend, done)
    assert second[best] == (1.0, version) and min(second, key=lambda i: second[i][0]) != best
    assert len({p["cluster"] for p in backend.predict(TASKS, 2)}) > 1


EVENTS: dict[str, tuple[Callable[[AcquisitionBackend], Any], dict[int, Any]]] = {
    "deleted by its id alone": (
        lambda b: send(b, "ANNOTATIONS_DELETED", annotations=[{"id": 11}]),
        {2: "fox", 3: None},
    ),
    "several deleted": (
        lambda b: send(b, "ANNOTATIONS_DELETED", annotations=[{"id": 11}, {"id": 12}]),
        {3: None},
    ),
    "deleted, of older servers": (
        lambda b: send(b, "ANNOTATION_DELETED", annotation={"id": 11}, task={"id": 1}),
        {2: "fox", 3: None},
    ),
    "skip deleted": (
        lambda b: send(b, "ANNOTATIONS_DELETED", annotations=[{"id": 13}]),
        {1: "bird", 2: "fox"},
    ),
    "updated": (
        lambda b: send(
            b, "ANNOTATION_UPDATED", annotation=annotation(11, 1, "fox"), task=event_task(1, TEXTS[1])
        ),
        {1: "fox", 2: "fox", 3: None},
    ),
    "updated to a skip": (
        lambda b: send(
            b,
            "ANNOTATION_UPDATED",
            annotation=annotation(11, 1, was_cancelled=True),
            task=event_task(1, TEXTS[1]),
        ),
        {1: None, 2: "fox", 3: None},
    ),
    "several created": (
        lambda b: send(
            b,
            "ANNOTATIONS_CREATED",
            annotation=[annotation(21, 4, "bird"), annotation(22, 5)],
            task=[event_task(4, TEXTS[4]), event_task(5, TEXTS[5])],
        ),
        {1: "bird", 2: "fox", 3: None, 4: "bird", 5: None},
    ),
    "tasks deleted": (lambda b: send(b, "TASKS_DELETED", tasks=[{"id": 1}, {"id": 3}]), {2: "fox"}),
    "all tasks deleted, without a project": (
        lambda b: b.fit("TASKS_DELETED", {"action": "TASKS_DELETED", "tasks": [{"id": i} for i in TEXTS]}),
        {},
    ),
    "nothing but the action": (lambda b: b.fit("ANNOTATIONS_DELETED", {}), {1: "bird", 2: "fox", 3: None}),
    "project updated": (lambda b: send(b, "PROJECT_UPDATED"), {1: "bird", 2: "fox", 3: None}),
    "start training": (lambda b: send(b, "START_TRAINING"), {1: "bird", 2: "fox", 3: None}),
    "an unknown event": (
        lambda b: send(b, "ANNOTATION_DRAFT_CREATED", annotation=annotation(31, 7, "bird")),
        {1: "bird", 2: "fox", 3: None},
    ),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_taken_as_they_are_sent(name: str) -> None:
    change, expected = EVENTS[name]
    backend = backend_of()
    send(backend, "TASKS_CREATED", tasks=[event_task(i, text) for i, text in TEXTS.items()])
    created(backend, 1, 11, "bird")
    created(backend, 2, 12, "fox")
    created(backend, 3, 13, was_cancelled=True)
    before = backend.model_version(2)
    change(backend)
    assert labels(backend) == expected
    assert (backend.model_version(2) != before) == (expected != {1: "bird", 2: "fox", 3: None})


def test_what_sends_no_event_is_seen_in_the_next_request() -> None:
    """Label Studio reports neither edited tasks, nor annotations made drafts, nor annotations of an import."""
    backend = backend_of()
    ask(backend, [task(1, TEXTS[1], annotation(11, 1, "bird")), *TASKS[1:]])
    assert labels(backend) == {1: "bird"}
    draft = task(1, TEXTS[1]) | {"drafts": [{"id": 5, "result": [region("choices", ["bird"])], "task": 1}]}
    ask(backend, [draft, task(2, TEXTS[2], annotation(12, 2, "fox"))])
    assert labels(backend) == {2: "fox"}
    version = backend.model_version(2)
    assert ask(backend, [task(3, "an edited text")])[3][1] != version


def test_equal_content_has_the_equal_version() -> None:
    backend = backend_of()
    first = ask(backend, TASKS)
    created(backend, 1, 11, "bird")
    send(backend, "ANNOTATIONS_DELETED", annotations=[{"id": 11}])
    assert ask(backend, TASKS) == first
    assert ask(backend_of(), TASKS[::-1]) == first  # whatever the order in which tasks arrive


@pytest.mark.parametrize("size", [1, 3, 20])
def test_scores_of_one_version_are_ranks_in_one_pool_whatever_the_requests(size: int) -> None:
    whole = ask(backend_of(), TASKS)
    backend = backend_of()
    for _ in range(2):  # the first requests teach the pool, where Label Studio cannot be read
        found: dict[int, tuple[float, str]] = {}
        for start in range(0, 20, size):
            found |= ask(backend, TASKS[start : start + size])
    assert found == whole
    assert spearmanr([whole[i][0] for i in whole], [found[i][0] for i in whole]).statistic == pytest.approx(1)


def test_tasks_known_by_an_event_count_before_they_are_asked_for() -> None:
    backend = backend_of()
    send(backend, "TASKS_CREATED", tasks=[event_task(i, text) for i, text in TEXTS.items()])
    found = {t["id"]: ask(backend, [t])[t["id"]] for t in TASKS}
    assert found == ask(backend_of(), TASKS)


def test_projects_are_pools_of_their_own() -> None:
    backend = backend_of()
    first = ask(backend, TASKS)
    others = [task(100 + i, f"something else {i}", project=3) for i in range(5)]
    found = backend.predict(others, "3.1795883112", CHOICES)
    assert sorted(p["score"] for p in found) == [i / 6 for i in range(5)]
    assert ask(backend, TASKS) == first and len(backend.versions()) == 2


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    backend = backend_of(state=state)
    ask(backend, TASKS)
    created(backend, 4, 14, "bird")
    done = [task(4, TEXTS[4], annotation(14, 4, "bird")), *(t for t in TASKS if t["id"] != 4)]
    before, version = ask(backend, done), backend.model_version(2)
    backend.close()
    again = backend_of(state=state)
    assert again.model_version(2) == version and ask(again, done) == before
    send(again, "ANNOTATIONS_DELETED", annotations=[{"id": 14}])
    assert labels(again) == {}
    again.close()


def test_two_processes_may_share_a_state(tmp_path: Path) -> None:
    one, two = (backend_of(state=tmp_path / "state.sqlite") for _ in range(2))
    ask(one, TASKS)
    assert two.model_version(2) == one.model_version(2)
    created(two, 4, 14, "bird")
    assert labels(one) == {4: "bird"}
    one.close()
    two.close()


@pytest.mark.parametrize(
    "content", [b"id,label\n1,a\n", b"SQLite format 3\0 and then nothing that fits" * 40]
)
def test_a_file_of_the_users_is_never_taken_for_a_state(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(InputError, match="state="):
        backend_of(state=tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == content


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "mine") as connection:
        connection.execute("CREATE TABLE tasks (x)")
    before = (tmp_path / "mine").read_bytes()
    with pytest.raises(InputError, match="a database of something else"):
        backend_of(state=tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == before
    with pytest.raises(FileError, match="cannot be written"):
        backend_of(state=tmp_path)


def test_several_choices_ratings_and_taxonomies_are_labels() -> None:
    backend = backend_of()
    results = [
        [region("choices", ["fox", "bird"])],
        [region("rating", 4)],
        [region("taxonomy", [["A", "B"]])],
        [region("text", ["words"])],
    ]
    tasks = [
        task(i, TEXTS[i], annotation(10 + i, i, result=result)) for i, result in enumerate(results, start=1)
    ]
    found = ask(backend, [*tasks, *TASKS[4:]])
    assert labels(backend) == {1: "bird + fox", 2: "4", 3: "A / B", 4: None}
    assert [found[i][0] for i in range(1, 5)] == [1.0] * 4 and found[5][0] < 1


def test_vectors_and_dialogues_are_items() -> None:
    backend = AcquisitionBackend("vector", policy="k_center")
    tasks = [{"id": i, "data": {"vector": [float(i), i % 2]}} for i in range(1, 10)]
    scores = [p["score"] for p in backend.predict(tasks)]
    assert int(np.argmin(scores)) in (3, 4, 5)
    config = CHOICES.replace("<Text", "<Paragraphs")
    said = [
        {"id": i, "data": {"text": [{"author": "A", "text": f"hello {i}"}, {"author": "B", "text": "bye"}]}}
        for i in range(20, 24)
    ]
    assert len(backend_of().predict(said, "4.1", config)) == 4


@pytest.mark.parametrize(
    ("value", "data_of"),
    [
        ("$meta.text", lambda text: {"meta": {"text": text}}),
        ("$parts[1]", lambda text: {"parts": ["unused", text]}),
        ("$colour $rest", lambda text: dict(zip(("colour", "rest"), text.split(" ", 1), strict=True))),
        ("$text", lambda text: {"$undefined$": text}),  # a list without names was imported
    ],
)
def test_entries_are_found_as_label_studio_finds_them(value: str, data_of: Callable[[str], Any]) -> None:
    found = backend_of().predict(
        [t | {"data": data_of(TEXTS[t["id"]])} for t in TASKS],
        "2.1795883112",
        CHOICES.replace("$text", value),
    )
    expected = ask(backend_of(), TASKS)
    assert [p["score"] for p in found] == [expected[t["id"]][0] for t in TASKS]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{"id": 1}], "every task needs an id and its data"),
        ([{"data": {"text": "a"}}], "every task needs an id and its data"),
        ([{"id": 1, "data": {"body": "a"}}], r"task 1 has no 'text' in its data, only body; .* --key"),
        ([{"id": 1, "data": {"text": {"a": 1}}}], "must be a text, an image's address or a list of numbers"),
        ([{"id": 1, "data": {"text": "a"}}, {"id": 2, "data": {"text": [1.0]}}], "a text in some tasks"),
        ([{"id": 1, "data": {"text": [1.0]}}, {"id": 2, "data": {"text": [1.0, 2]}}], "1 or 2 numbers"),
        ([{"id": 1, "data": {"text": [float("nan")]}}], "NaN"),
        ([{"id": 1, "data": {"text": "s3://bucket/a.png"}}], "lies in Label Studio; .* --label-studio-url"),
        ([{"id": 1, "data": {"text": "/data/local-files/?d=a/b.png"}}], "--local-files"),
    ],
)
def test_tasks_that_cannot_be_read_are_refused(tasks: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        backend_of().predict(tasks)


def test_one_unreadable_task_is_served_last_and_reported_once() -> None:
    said: list[str] = []
    backend = AcquisitionBackend(policy="uherding", encoder="tfidf", report=said.append)
    broken = {"id": 99, "data": {"other": "x"}, "annotations": [], "project": 2}
    for _ in range(2):
        found = ask(backend, [*TASKS, broken])
    assert found[99][0] == 1 and sorted(s for s, _ in found.values())[:20] == [i / 21 for i in range(20)]
    assert len(said) == 1 and "task 99" in said[0]
    assert {version for _, version in found.values()} == {backend.model_version(2)}


def test_the_config_of_a_project_says_what_is_shown() -> None:
    backend = backend_of()
    body = CHOICES.replace("$text", "$body")
    backend.setup(setup(body))
    renamed = [t | {"data": {"body": t["data"]["text"]}} for t in TASKS]
    assert len(backend.predict(renamed, predict([])["project"])) == 20
    with pytest.raises(InputError, match="shows text, image"):
        backend.setup(setup(CHOICES.replace("<Choices", '<Image name="i" value="$image"/><Choices')))
    with pytest.raises(InputError, match="texts and images only"):
        backend.validate(CHOICES.replace("<Text", "<Audio"))
