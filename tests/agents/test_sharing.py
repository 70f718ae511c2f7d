"""Policies in folders and on the hub: the same weights come back, and no code of a stranger is ever run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.stub_hub import Hub, stub_hub

from agents.acquisition import from_pretrained, load_policy, push_to_hub, query, save_pretrained
from agents.policy.sb3_policy import LearnedStrategy
from agents.pretrained import shipped_policies
from agents.sharing import CARD, FILES, model_card
from agents.strategies import STRATEGIES
from metaal_env.errors import InputError, InputTypeError

X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.where(np.arange(40) < 6, np.arange(40) % 3, np.nan)


@pytest.fixture()
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The real client of the hub, at a hub on this machine and with an empty cache."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    from huggingface_hub import constants, file_download

    with stub_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        monkeypatch.setattr(file_download.constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "stub")
        yield found


def weights(policy: Any) -> dict[str, torch.Tensor]:
    return dict(policy.network.state_dict())


def shipped(name: str) -> LearnedStrategy:
    """Read anew: what `load_strategy` keeps may have been played on a simulated GPU."""
    return LearnedStrategy.load(shipped_policies()[name])


def same(first: Any, second: Any) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", sorted(shipped_policies()))
def test_a_policy_comes_back_from_a_folder(name: str, tmp_path: Path) -> None:
    place = save_pretrained(name, tmp_path / "shared")
    assert sorted(file.name for file in place.iterdir()) == sorted([*FILES, CARD])
    back = from_pretrained(place)
    assert same(back, shipped(name))
    again = save_pretrained(back, tmp_path / "again")
    assert same(from_pretrained(again), back)
    told = [json.loads((folder / "policy.json").read_text())["summary"] for folder in (place, again)]
    assert told[0] == told[1] == back.summary, "how it was trained goes with it"
    assert np.array_equal(query(X, Y, policy=str(place)), query(X, Y, policy=name))


def test_the_card_is_what_the_hub_reads() -> None:
    cards = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    described = json.loads((shipped_policies()["metaal-general"] / "policy.json").read_text())
    card = cards.ModelCard(model_card(described, "ada/metaal-general"))
    assert card.data.library_name == "metaal" and "active-learning" in card.data.tags
    for words in (
        "hf://ada/metaal-general",
        "## Limits",
        "Omniglot's evaluation alphabets",
        "loading them runs no code",
    ):
        assert words in card.text
    plain = model_card({"summary": {"iteration": 15, "name": "one\n---\ntwo"}, "config": {}}, "one\n---\ntwo")
    assert "# one --- two\n" in plain and "- iteration: 15" in plain and plain.count("\n---\n") == 1


def test_to_the_hub_and_back(hub: Hub, tmp_path: Path) -> None:
    address = push_to_hub("metaal-glyphs", "ada/glyphs", private=True, message="Share")
    assert address.startswith(f"{hub.url}/ada/glyphs/commit/") and hub.messages == ["Share"]
    assert hub.private == {"ada/glyphs": True}
    assert sorted(hub.repositories["ada/glyphs"]) == sorted([*FILES, CARD])
    assert b"hf://ada/glyphs" in hub.repositories["ada/glyphs"][CARD]
    back = from_pretrained("ada/glyphs")
    assert same(back, shipped("metaal-glyphs"))
    assert same(load_policy("hf://ada/glyphs"), back)
    assert np.array_equal(query(X, Y, policy="hf://ada/glyphs"), query(X, Y, policy="metaal-glyphs"))
    asked = len(hub.asked)
    query(X, Y, policy="hf://ada/glyphs")
    assert len(hub.asked) == asked, "a query does not wait for the network"


def test_nothing_but_the_two_files_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """A repository with code and pickles beside the policy is harmless."""
    push_to_hub("metaal-glyphs", "eve/trap")
    trap = tmp_path / "sprung"
    hub.repositories["eve/trap"] |= {
        "modeling.py": f"open({str(trap)!r}, 'w')".encode(),
        "policy.pkl": pickle.dumps({}),
        "config.json": b'{"auto_map": {"AutoModel": "modeling.Trap"}}',
    }
    from_pretrained("eve/trap")
    fetched = {line.rsplit("/", 1)[1] for line in hub.asked if "/resolve/" in line}
    assert fetched == set(FILES) and not trap.exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("policy.safetensors", pickle.dumps({"a": 1}), "is damaged"),
        (
            "policy.json",
            b'{"kind": "policy", "schema": 2, "config": {"network": {"__class__": "os.system"}}}',
            "hf://eve/bad",
        ),
        ("policy.json", b"not json", "is damaged"),
        ("policy.safetensors", None, r"has no policy\.safetensors: it is not a metaal policy"),
    ],
)
def test_foreign_files_end_in_one_sentence(hub: Hub, file: str, content: bytes | None, message: str) -> None:
    push_to_hub("metaal-glyphs", "eve/bad")
    if content is None:
        del hub.repositories["eve/bad"][file]
    else:
        hub.repositories["eve/bad"][file] = content
    with pytest.raises(InputError, match=message) as error:
        from_pretrained("eve/bad")
    assert "/tmp" not in str(error.value)


@pytest.mark.parametrize("name", ["nobody/nothing", "hf://nobody/nothing"])
def test_an_unknown_repository_is_named(hub: Hub, name: str) -> None:
    with pytest.raises(InputError, match="'hf://nobody/nothing' cannot be had from the hub"):
        from_pretrained(name)


def test_what_is_no_place_is_refused_without_asking_the_network(hub: Hub) -> None:
    for name in ("no folder", "hf://../../etc", "a/b/c", "hf://only"):
        with pytest.raises(InputError, match="is neither a folder nor owner/name"):
            from_pretrained(name)
    with pytest.raises(InputError, match="must be owner/name"):
        push_to_hub("metaal-glyphs", "glyphs")
    assert hub.asked == []


def test_a_folder_comes_before_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_pretrained("metaal-glyphs", "ada/glyphs")
    from_pretrained("ada/glyphs")
    assert hub.asked == []


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("mine\n")
    with pytest.raises(InputError, match=r"holds README\.md already; give another, or overwrite=True"):
        save_pretrained("metaal-glyphs", tmp_path)
    assert (tmp_path / CARD).read_text() == "mine\n" and len(list(tmp_path.iterdir())) == 1
    save_pretrained("metaal-glyphs", tmp_path, overwrite=True)
    assert "metaal" in (tmp_path / CARD).read_text()


def test_rules_and_nonsense_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="must be a learned strategy, a name or a folder"):
        save_pretrained(STRATEGIES["margin"](seed=0), tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is missing"):
        save_pretrained("margin", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_found_before_it_is_shared(tmp_path: Path) -> None:
    shutil.copytree(shipped_policies()["metaal-glyphs"], tmp_path / "run")
    data = (tmp_path / "run/policy.safetensors").read_bytes()
    (tmp_path / "run/policy.safetensors").write_bytes(data[:-4] + b"abcd")
    with pytest.raises(InputError, match="is damaged"):
        save_pretrained(tmp_path / "run", tmp_path / "out")


def test_without_the_package_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install huggingface_hub"):
        from_pretrained("ada/glyphs")
