"""Files of models: every fault at once, every key explained, every change of meaning another definition."""

from __future__ import annotations

from pathlib import Path

import pytest

from wealthos_pipeline.core.errors import ConfigError, ModelError
from wealthos_pipeline.core.model import ModelSpec, Search, Weighting
from wealthos_pipeline.ml import specs
from wealthos_pipeline.utils.config import ModelSettings, inputs_dir


def written(folder: Path, **files: str) -> ModelSettings:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return ModelSettings(specs=folder, horizon=10, ridge_alpha=3.0)


def test_every_file_of_the_project_is_a_model_and_the_settings_complete_it(tmp_path) -> None:
    found = specs.available(ModelSettings(horizon=7))
    files = {p.stem for p in (inputs_dir() / "models").glob("*.yaml")}
    assert {"ridge", "lightgbm"} <= files <= set(found)
    assert {s.horizon for s in found.values()} == {7}
    settings = written(
        tmp_path, a="name: mine\nfamily: ridge\nhorizon: 3", b="{name: other, family: ridge}"
    )
    assert specs.load(settings, ["mine", "other"])[0].horizon == 3
    assert specs.load(settings, ["other"])[0].params == {"alpha": 3.0}


def test_every_fault_of_every_file_is_named(tmp_path) -> None:
    settings = written(
        tmp_path,
        a="name: One\nfamily: ridge\nlabels: rank\nhorizon: 0",
        b="name: two\nfamily: forest",
        c="name: three\nfamily: ridge\nparams: {alpa: 1}",
        d="name: four\nfamily: stacked\nmembers: [ridge]",
        e="[1, 2",
        f="name: six\nfamily: ridge\nmembers: [ridge, lightgbm]",
    )
    with pytest.raises(ConfigError) as error:
        specs.load(settings)
    words = str(error.value)
    for part in (
        "a.yaml: unknown key 'labels'", "a.yaml: name", "a.yaml: horizon", "unknown family 'forest'",
        "did you mean alpha?", "at least two members", "e.yaml: is not readable as YAML",
        "f.yaml: members belong to the family stacked",
    ):  # fmt: skip
        assert part in words
    with pytest.raises(ConfigError, match=r"unknown \['momentum'\]; there are"):
        specs.load(ModelSettings(names=("momentum",)))


def test_words_change_no_fit_and_everything_else_does(tmp_path) -> None:
    spec = ModelSpec(name="x", family="ridge")
    same = spec.model_copy(update={"title": "Other", "note": "words"})
    assert same.spec_hash == spec.spec_hash
    others = {"label": "excess", "horizon": 5, "window": "expanding", "weighting": Weighting(half_life=9.0),
              "params": {"alpha": 2.0}, "seed": 8, "features": ("a",)}  # fmt: skip
    hashes = {spec.model_copy(update={k: v}).spec_hash for k, v in others.items()}
    assert len(hashes | {spec.spec_hash}) == len(others) + 1
    one = written(tmp_path, a="name: m\nfamily: ridge", s="{name: s, family: stacked, members: [m, lightgbm]}")  # fmt: skip
    stack = one.model_copy(update={"names": ("s",)})
    before = specs.definition(stack)
    (tmp_path / "a.yaml").write_text(
        "name: m\nfamily: ridge\nparams: {alpha: 99}", encoding="utf-8"
    )
    assert specs.definition(stack) != before  # what a member is belongs to what a stack is


def test_features_are_chosen_by_pattern_in_the_order_of_the_columns() -> None:
    spec = ModelSpec(name="x", family="ridge", features=("beta", "mom_*"))
    assert specs.chosen(spec, ("mom_1", "size", "beta", "mom_2")) == ("mom_1", "beta", "mom_2")
    with pytest.raises(ModelError, match=r"no column mom_\*; they have: size"):
        specs.chosen(spec, ("size", "beta"))


def test_the_page_of_models_explains_every_key() -> None:
    page = (inputs_dir() / "models" / "README.md").read_text(encoding="utf-8")
    table = {line.split("|")[1] for line in page.splitlines() if line.startswith("| `")}
    explained = " ".join(table)
    for key in ModelSpec.model_fields:
        assert f"`{key}`" in explained, f"{key} is not explained in data/inputs/models/README.md"
    for part in (*Weighting.model_fields, *Search.model_fields):
        assert part in page
