"""Policies in folders and on Hugging Face's hub: weights and a description, never code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.pretrained import shipped_policies
from metaal_env.errors import InputError, InputTypeError, brief
from metaal_env.runtime.artifacts import artifact_stem, load_artifact
from metaal_env.runtime.files import write_together

if TYPE_CHECKING:
    from agents.policy.sb3_policy import LearnedStrategy

HUB = "hf://"
"""What the name of a policy on the hub begins with, where folders and rules may be named too."""
CARD = "README.md"
FILES = ("policy.json", "policy.safetensors")
"""The files of a policy; no others are read or downloaded."""
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


def save_pretrained(
    policy: str | Path | LearnedStrategy,
    folder: str | Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a policy with a model card to a folder, which `from_pretrained` and every ``--policy`` take.

    Args:
        policy: a learned strategy, the name of a shipped policy, or the folder of a run.
        name: what the card calls it, e.g. its place on the hub; by default its own name, or the folder's.
        overwrite: whether to replace files of these names.

    Returns:
        The folder.

    Raises:
        InputTypeError: a policy of another type.
        InputError: no learned policy, damaged files, or files that are there already.
        FileError: the folder cannot be written.
    """
    folder = Path(folder)
    there = [file for file in (*FILES, CARD) if (folder / file).exists()]
    if there and not overwrite:
        raise InputError(f"folder={str(folder)!r} holds {there[0]} already; give another, or overwrite=True.")
    with _artifact(policy) as stem:
        described, _ = load_artifact(stem, "policy")
        contents = {
            folder / file: stem.with_name(file.replace("policy", stem.name, 1)).read_bytes() for file in FILES
        }
    contents[folder / CARD] = model_card(
        described, name or described["summary"].get("name") or folder.name
    ).encode()
    write_together(contents)
    return folder


def from_pretrained(
    source: str | Path, *, revision: str | None = None, token: str | None = None
) -> LearnedStrategy:
    """Loads a policy from a folder, or from the hub through `huggingface_hub` (extra ``hub``).

    Only numbers are read, from safetensors and JSON; nothing in the files is ever run.

    Args:
        source: a folder, or ``"owner/name"`` of a repository, also as ``"hf://owner/name"``. A folder of that name
            comes first.
        revision: branch, tag or commit of the repository; its main branch by default.
        token: of the hub; by default what ``hf auth login`` keeps.

    Raises:
        InputError: neither folder nor repository, a hub that cannot be reached, or files that are no policy.
    """
    from agents.policy.sb3_policy import LearnedStrategy

    name = str(source)
    if not name.startswith(HUB) and Path(source).exists():
        return LearnedStrategy.load(source)
    name = name.removeprefix(HUB)
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"policy={str(source)!r} is neither a folder nor owner/name on the hub; check it.")
    hub, what = _hub(), f"policy={HUB + name!r}"
    try:
        cached = hub.snapshot_download(name, revision=revision, token=token, allow_patterns=list(FILES))
    except Exception as error:  # of the hub, of the network, of the library's checks
        raise InputError(
            f"{what} cannot be had from the hub ({brief(error)}); check name, network and token."
        ) from error
    with tempfile.TemporaryDirectory() as own:  # the hub's cache is made of links, which artifacts may not be
        for file in FILES:
            if not (Path(cached) / file).is_file():
                raise InputError(f"{what} has no {file}: it is not a metaal policy.")
            shutil.copyfile(Path(cached) / file, Path(own) / file)
        try:
            return LearnedStrategy.load(own)
        except InputError as error:
            raise InputError(str(error).replace(own, HUB + name)) from error


def push_to_hub(
    policy: str | Path | LearnedStrategy,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str = "Add a policy of metaal",
    token: str | None = None,
) -> str:
    """Uploads a policy with its model card to the hub as one commit, and returns the commit's address.

    Args:
        policy: as for `save_pretrained`.
        repository: ``"owner/name"``, made where it is not there.
        private: whether a new repository is seen by its owner alone.
        revision: branch; the main one by default.
        message: first line of the commit.
        token: with the right to write; by default what ``hf auth login`` keeps.

    Raises:
        InputError: no learned policy, no name of a repository, or a hub that refuses.
    """
    name = repository.removeprefix(HUB)
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"repository={repository!r} must be owner/name.")
    api = _hub().HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(policy, folder, name=name)
        try:
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=name, folder_path=folder, revision=revision, commit_message=message
            )
        except Exception as error:  # of the hub, of the network, of the library's checks
            raise InputError(
                f"repository={name!r} cannot be written ({brief(error)}); check name, network and token."
            ) from error
    return str(done.commit_url)


def model_card(card: Mapping[str, Any], name: str) -> str:
    """Returns the model card of a policy in Markdown.

    Args:
        card: what its ``policy.json`` holds.
        name: what the card calls it.
    """
    summary, features = card.get("summary") or {}, card.get("config", {}).get("features", {})
    name = " ".join(str(name).split())
    place = f"{HUB}{name}" if _REPOSITORY.fullmatch(name) else "FOLDER"
    parts = [
        "---\nlibrary_name: metaal\ntags:\n- active-learning\n- metaal\n- safetensors\n---",
        f"# {name}",
        "An acquisition policy of metaal: it chooses which items of an unlabelled "
        "pool to label next. The files hold numbers alone, in safetensors and JSON; loading them runs no code.",
        f"```bash\npip install huggingface_hub\nmetaal label pool.csv --policy {place}\n```",
        "```python\nfrom agents.acquisition import from_pretrained, query\n\n"
        f'picks = query(X, y, clf=model, policy=from_pretrained("{place.removeprefix(HUB)}"))\n```',
    ]
    titles = {
        "limits": "Limits",
        "training_data": "Training data",
        "held_back": "Never seen",
        "commands": "Commands",
    }
    for key, title in titles.items():
        if summary.get(key):
            parts.append(f"## {title}\n\n{_listed(summary[key])}")
    results = summary.get("results")
    if isinstance(results, Mapping) and results.get("summary"):
        parts.append(f"## Results\n\nOn {results.get('tasks', '?')} tasks a cell: {results['summary']}")
    rest = {
        key: value for key, value in summary.items() if isinstance(value, (int, float, str)) and key != "name"
    }
    counts = {key.replace("_", " "): len(value) for key, value in features.items() if isinstance(value, list)}
    versions = ", ".join(f"{key} {value}" for key, value in (card.get("versions") or {}).items())
    facts = [*(f"{key.replace('_', ' ')}: {value}" for key, value in rest.items() if key not in titles)]
    facts += [f"{key}: {count}" for key, count in counts.items()]
    facts += [f"written with {versions}"] if versions else []
    parts.append(f"## Facts\n\n{_listed(facts)}")
    return "\n\n".join(parts) + "\n"


def _listed(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"- {key}: {text}" for key, text in value.items())
    return "\n".join(f"- {text}" for text in value) if isinstance(value, list) else str(value)


@contextmanager
def _artifact(policy: Any) -> Iterator[Path]:
    """The path of a policy's files without suffix."""
    from agents.policy.sb3_policy import LearnedStrategy

    if isinstance(policy, LearnedStrategy):
        with tempfile.TemporaryDirectory() as folder:
            policy.save(Path(folder) / "policy", policy.summary)
            yield Path(folder) / "policy"
    elif isinstance(policy, (str, Path)):
        yield artifact_stem(shipped_policies().get(str(policy), Path(policy)), "policy")
    else:
        raise InputTypeError(f"policy={policy!r} must be a learned strategy, a name or a folder.")


def _hub() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError("Hugging Face's hub needs the package huggingface_hub: pip install huggingface_hub.")
    import huggingface_hub

    return huggingface_hub
