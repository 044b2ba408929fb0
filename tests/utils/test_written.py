"""What people write in YAML: each fault in words that name the keys there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils import written


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    low: float = 0.0
    high: float = 1.0


class _Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    part: _Part | None = None
    by_name: dict[str, _Part] = {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "a", "nam": 1}, "unknown key 'nam'; known: by_name, name, part"),
        ({"name": "a", "part": {"lo": 1}}, "unknown key 'part.lo'; known: high, low"),
        (
            {"name": "a", "by_name": {"x": {"lo": 1}}},
            "unknown key 'by_name.x.lo'; known: high, low",
        ),
        ({}, "key 'name' is missing"),
    ],
)
def test_an_unknown_key_is_told_beside_those_of_its_own_part(
    body: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        _Whole.model_validate(body)
    assert written.faults(caught.value, _Whole) == [said]


def test_every_word_of_set_that_is_no_pair_is_told_at_once() -> None:
    assert written.pairs(["a=0.5", "b=[x, y]", "c="]) == {"a": 0.5, "b": ["x", "y"], "c": None}
    with pytest.raises(
        ConfigError, match=r"'a' is not key=value; '=1' is not key=value; 'b=\[': the"
    ):
        written.pairs(["a", "=1", "b=["])


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty; expected keys"), ("- 1", "holds a list"), ("a: [", "not readable"), (None, "not readable")],
)  # fmt: skip
def test_a_file_without_keys_is_told_what_it_holds(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        written.keys(path, "a, b")
