"""Mandates from YAML: what ships can be used, and every fault is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.portfolio import mandates


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_shipped_mandates_load_in_order_of_name() -> None:
    found = {m.name: m for m in mandates.load()}
    assert list(found) == sorted(found)
    assert {"minimum_variance", "core_equity", "impossible"} <= set(found)
    assert found["minimum_variance"].objective == "min_variance"
    assert found["minimum_variance"].max_weight == 0.15
    assert found["core_equity"].max_turnover is not None
    assert "cannot be met" in found["impossible"].title


def test_shipped_mandates_leave_room_on_twenty_names() -> None:
    for m in mandates.load():
        assert 20 * m.max_weight >= m.budget - m.cash_buffer


def test_every_fault_of_every_file_is_listed(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: one\ntitle: One\nmax_wait: 0.1\nrisk_aversion: -2\n")
    write(tmp_path, "b.yaml", "name: two\ntitle: Two\nmin_weight: 0.3\nmax_weight: 0.1\n")
    write(tmp_path, "c.yaml", "name: [unclosed\n")
    write(tmp_path, "d.yaml", "name: equal_weight\ntitle: Mine\n")
    write(tmp_path, "e.yaml", "- a list\n")
    write(tmp_path, "f.yaml", "name: three\ntitle: Three\ngroups:\n  - name: empty\n")
    write(tmp_path, "g.yaml", "name: four\ntitle: Four\nlong_only: true\nmin_weight: -0.1\n")
    with pytest.raises(ConfigError) as caught:
        mandates.load(tmp_path)
    text = str(caught.value)
    for part in (
        "a.yaml: unknown key 'max_wait'",
        "a.yaml: risk_aversion",
        "b.yaml:",
        "c.yaml: is not readable as YAML",
        "d.yaml: name 'equal_weight' is reserved",
        "e.yaml: holds a list",
        "f.yaml: group 'empty' needs a sector or symbols",
        "f.yaml: group 'empty' has neither",
        "g.yaml: long_only with min_weight",
    ):
        assert part in text


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: same\ntitle: A\n")
    write(tmp_path, "b.yml", "name: same\ntitle: B\n")
    with pytest.raises(ConfigError, match=r"b\.yml: name 'same' is already used by a\.yaml"):
        mandates.load(tmp_path)


def test_an_empty_folder_has_no_mandates_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert mandates.load(tmp_path) == []
    with pytest.raises(ConfigError, match="does not exist"):
        mandates.load(tmp_path / "nowhere")
