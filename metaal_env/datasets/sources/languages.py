"""`languages`: short texts in many languages, from the CLDR names that come with Babel."""

from __future__ import annotations

from collections import Counter, defaultdict
from importlib.metadata import version

import numpy as np
import torch

from metaal_env.datasets.base import DATASETS, ClassDataset
from metaal_env.datasets.cache import cached
from metaal_env.datasets.prepare import svd_vectors

MIN_NAMES, MAX_NAMES = 30, 120
"""Languages with fewer distinctive names are left out; of more names, `MAX_NAMES` are drawn."""
DIMENSIONS = 64
_RECIPE = 1  # Part of the cache file's name: raise it with any change to the result.
_SEED = 20240917
_NO_COUNTRY = "001"
_REGIONS = {
    "Europe": "Europe",
    "Africa": "Africa",
    "Indian": "Africa",
    "Asia": "Asia and Pacific",
    "Australia": "Asia and Pacific",
    "Pacific": "Asia and Pacific",
    "America": "Americas and Atlantic",
    "Atlantic": "Americas and Atlantic",
}
_SPLIT = {"Africa": "test", "Asia and Pacific": "validation", "constructed": "validation"}


@DATASETS.register("languages")
def languages() -> ClassDataset:
    """Loads names of territories, languages and currencies in their own language: 64-d unit vectors, with texts.

    Classes are the languages in Latin script with at least 30 names that no other language shares. Features are TF-IDF
    weights of character 1–4-grams, reduced by a truncated SVD. Both are fitted on all texts without their labels, as on
    a user's pool. Groups are regions, and splits follow them: training has Europe and the Americas, validation has
    Asia, the Pacific and constructed languages, and test has Africa.
    """
    return cached(f"languages-{_RECIPE}-babel-{version('babel')}", "languages", build)


def build() -> ClassDataset:
    """Reads Babel's data and fits the features; see `languages`."""
    from babel import Locale

    names = distinctive_names()
    rng = np.random.default_rng(_SEED)
    texts: list[str] = []
    labels: list[int] = []
    for c, code in enumerate(names):
        chosen = names[code]
        if len(chosen) > MAX_NAMES:
            chosen = [chosen[i] for i in np.sort(rng.choice(len(chosen), MAX_NAMES, replace=False))]
        texts += chosen
        labels += [c] * len(chosen)
    groups = tuple(region(code) for code in names)
    return ClassDataset(
        name="languages",
        inputs=torch.from_numpy(embed(texts)),
        labels=torch.tensor(labels),
        class_names=tuple(Locale(code).english_name or code for code in names),
        groups=groups,
        modality="vector",
        class_split=tuple(_SPLIT.get(group, "train") for group in groups),
        texts=tuple(texts),
    )


def distinctive_names() -> dict[str, list[str]]:
    """Returns language code → the names that this language alone uses; both are sorted."""
    from babel import localedata
    from babel.core import get_global

    likely = get_global("likely_subtags")
    names: dict[str, list[str]] = {}
    for code in sorted(localedata.locale_identifiers()):
        if "_Latn_" not in likely.get(code, ""):  # Also leaves out regional variants: they have no entry.
            continue
        own = localedata.load(code, merge_inherited=False)
        groups = [own.get(key, {}).values() for key in ("territories", "languages", "currency_names")]
        names[code] = sorted({text for values in groups for text in values if isinstance(text, str)})
    users = Counter(folded for texts in names.values() for folded in {text.casefold() for text in texts})
    unique = {code: [text for text in texts if users[text.casefold()] == 1] for code, texts in names.items()}
    return {code: texts for code, texts in unique.items() if len(texts) >= MIN_NAMES}


def region(code: str) -> str:
    """Returns the part of the world where the language is most spoken, by that country's time zones."""
    from babel.core import get_global

    territory = get_global("likely_subtags")[code].split("_")[2]
    if territory == _NO_COUNTRY:
        return "constructed"
    zones: dict[str, int] = defaultdict(int)
    for zone, country in get_global("zone_territories").items():
        if country == territory and zone.split("/")[0] in _REGIONS:
            zones[_REGIONS[zone.split("/")[0]]] += 1
    # Spain has a zone each in Europe, Africa and the Atlantic: ties go to the region named first above.
    return max(dict.fromkeys(_REGIONS.values()), key=lambda name: zones[name])


def embed(texts: list[str]) -> np.ndarray:
    """Returns (M, `DIMENSIONS`) unit-norm float32 features of character n-grams, fitted on `texts` themselves."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=3).fit_transform(texts)
    return svd_vectors(table, DIMENSIONS, _SEED)
