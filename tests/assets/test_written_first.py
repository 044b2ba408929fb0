"""What people wrote is read before a run computes anything: every fault of it at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets._shared.resources import open_session
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.utils.config import load_settings

NOW = datetime(2024, 1, 5, 22, tzinfo=UTC)


def opened(root: Path, **models: object) -> None:
    with open_session(load_settings(root=root, models=models), now=NOW):
        raise AssertionError("the run began")


def test_faults_of_models_and_policy_stop_a_run_at_its_beginning(tmp_path: Path) -> None:
    folder, policy = tmp_path / "models", tmp_path / "promotion.yaml"
    folder.mkdir()
    policy.write_text("slots:\n  alpha:\n    reviews: month\n")
    with pytest.raises(ConfigError, match=r"unknown key 'slots\.alpha\.reviews'"):
        opened(tmp_path, promotion=policy)
    with pytest.raises(ConfigError, match=r"models\.names: unknown") as both:
        opened(tmp_path, promotion=policy, names=("nobody",))
    assert "slots.alpha.reviews" in str(both.value)
    (folder / "a.yaml").write_text("name: a\nfamily: ridge\nparams: {alpa: 1}\n")
    with pytest.raises(ConfigError, match="alpa"):
        opened(tmp_path, specs=folder)
    assert not (tmp_path / "lake").exists() or not any((tmp_path / "lake").rglob("*.parquet"))


def test_a_mandate_that_follows_no_slot_is_found_at_the_beginning(tmp_path: Path) -> None:
    inputs = Path(__file__).resolve().parents[2] / "data" / "inputs" / "mandates"
    text = next(p.read_text() for p in sorted(inputs.glob("*.yaml")) if "model:" in p.read_text())
    lines = [
        x if not x.startswith("model:") else "model: champion:rates" for x in text.splitlines()
    ]
    folder = tmp_path / "mandates"
    folder.mkdir()
    (folder / "one.yaml").write_text("\n".join(lines))
    settings = load_settings(root=tmp_path, portfolio={"mandates": folder})
    with (
        pytest.raises(ConfigError, match="mandates follow champion:rates"),
        open_session(settings, now=NOW),
    ):
        raise AssertionError("the run began")
