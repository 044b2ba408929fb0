"""The registry of cleaning rules: words for every rule, and what may be switched off or released."""

from __future__ import annotations

import pytest

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors import rules
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.utils.config import CleaningSettings


def test_every_rule_is_described_and_tuned_by_settings_that_exist() -> None:
    for name, rule in rules.RULES.items():
        assert rule.name == name
        assert rule.title
        assert rule.what
        assert set(rule.settings) <= set(CleaningSettings.model_fields), name
    tuned = {field for rule in rules.RULES.values() for field in rule.settings}
    assert {"spike_growth", "spike_return", "stale_sessions", "volume_spike"} <= tuned


def test_every_flag_is_named_by_a_rule() -> None:
    words = " ".join(rule.what for rule in rules.RULES.values())
    for flag in Flag:
        assert f"flag {flag.name}" in words, flag.name


def test_rules_are_switched_off_by_name() -> None:
    assert rules.switched_off(CleaningSettings()) == frozenset()
    assert rules.switched_off(CleaningSettings(off=("spike", "stale"))) == {"spike", "stale"}


def test_every_fault_of_off_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        rules.switched_off(CleaningSettings(off=("spyke", "no_close", "spike")))
    said = str(caught.value)
    assert "no rule is called 'spyke'" in said
    assert "'no_close' cannot be switched off: the chain of returns" in said
    assert "can be switched off: spike, crossed" in said


def test_what_may_be_released() -> None:
    assert rules.releasable("spike").name == "spike"
    with pytest.raises(ConfigError, match="cannot be released: the chain of returns"):
        rules.releasable("no_close")
    with pytest.raises(ConfigError, match="rejects no rows"):
        rules.releasable("stale")
    with pytest.raises(ConfigError, match="there are: duplicate_key"):
        rules.releasable("nothing")
