"""Labels out of Label Studio's annotations, and what a label config shows."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.label_studio_requests import annotation, region

from agents.acquisition.integrations.label_studio.label_config import read_label_config
from agents.acquisition.items.label_studio_answers import Answer, answer_of, class_of
from metaal_env.errors import InputError


@pytest.mark.parametrize(
    ("result", "label"),
    [
        ([region("choices", ["a"])], "a"),
        ([region("choices", ["b", "a"])], "a + b"),
        ([region("rating", 4)], "4"),
        ([region("taxonomy", [["Animal", "Dog"]])], "Animal / Dog"),
        ([region("taxonomy", [["Animal", "Dog"], ["Animal", "Cat"]])], "Animal / Cat + Animal / Dog"),
        ([{"from_name": "p", "type": "pairwise", "value": {"selected": "left"}}], "left"),
        ([region("choices", ["a"], "topic"), region("rating", 4, "mood")], "mood: 4; topic: a"),
        ([region("choices", ["a"]), region("text", ["a remark"], "note")], "a"),
        ([region("text", ["a remark"])], None),
        ([region("number", 3)], None),
        ([{"from_name": "l", "type": "labels", "value": {"start": 0, "end": 3, "labels": ["PER"]}}], None),
        ([], None),
        (None, None),
    ],
    ids=str,
)
def test_every_kind_of_choice_is_a_class(result: list[dict[str, Any]] | None, label: str | None) -> None:
    assert class_of({"result": result}) == label


@pytest.mark.parametrize(
    ("annotations", "answer"),
    [
        ([], Answer(None, False)),
        ([annotation(1, 1, "a")], Answer("a", True)),
        ([annotation(1, 1, was_cancelled=True)], Answer(None, True)),
        ([annotation(1, 1, was_cancelled=True), annotation(2, 1, "a")], Answer("a", True)),
        ([annotation(1, 1, "a", was_cancelled=True)], Answer(None, True)),
        ([annotation(1, 1)], Answer(None, True)),
        ([annotation(3, 1, "b"), annotation(1, 1, "a")], Answer("a", True)),
        ([annotation(1, 1, "a"), annotation(2, 1, "b"), annotation(3, 1, "b")], Answer("b", True)),
        (
            [annotation(1, 1, "a"), annotation(2, 1, "a"), annotation(3, 1, "b", ground_truth=True)],
            Answer("b", True),
        ),
    ],
    ids=[
        "none",
        "one",
        "skipped",
        "skipped by one",
        "skipped with a choice",
        "empty",
        "tie",
        "majority",
        "truth",
    ],
)
def test_several_people_give_one_answer(annotations: list[dict[str, Any]], answer: Answer) -> None:
    assert answer_of(annotations) == answer


VIEW = (
    '<View>{}<Choices name="c" toName="t"><Choice value="a"/><Choice value="b" alias="B"/></Choices></View>'
)


@pytest.mark.parametrize(
    ("shown", "key", "tag"),
    [
        ('<Header value="$title"/><Text name="t" value="$body"/>', "body", "Text"),
        ('<Image name="t" value="$image"/>', "image", "Image"),
        ('<Audio name="s" value="$sound"/><Text name="t" value="$body"/>', "body", "Text"),
        ('<Paragraphs name="t" value="$dialogue"/>', "dialogue", "Paragraphs"),
        ('<Text name="p" value="Costs 5$"/><Text name="t" value="$meta.parts[0]"/>', "meta.parts[0]", "Text"),
        ('<Text name="t" value="$title: $body"/>', "$title: $body", "Text"),
    ],
)
def test_what_is_shown_is_the_item(shown: str, key: str, tag: str) -> None:
    config = read_label_config(VIEW.format(shown))
    assert config.key(None) == key and config.objects[key] == tag and config.choices == ("a", "B")
    assert config.key("other") == "other"


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (
            '<Text name="t" value="$a"/><Image name="i" value="$b"/>',
            "shows a, b; start metaal serve with --key",
        ),
        ('<Audio name="t" value="$a"/>', r"a \(Audio\), but metaal encodes texts and images only"),
    ],
)
def test_what_cannot_be_an_item_is_named(shown: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_config(VIEW.format(shown)).key(None)


def test_only_one_single_choice_names_all_classes() -> None:
    several = VIEW.format('<Text name="t" value="$a"/>').replace(
        'toName="t">', 'toName="t" choice="multiple">'
    )
    assert read_label_config(several).choices == ()
    assert read_label_config("").key(None) == "text"
    with pytest.raises(InputError, match="is not valid XML"):
        read_label_config("<View>")
