"""The worked example of docs/vendors.md is taken from the page and run against the wire."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from wire import Wire

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data import sources
from wealthos_pipeline.data.processors import instruments, prices
from wealthos_pipeline.data.sources.fetching import Fetcher
from wealthos_pipeline.data.sources.vendor import GIVES, Vendor
from wealthos_pipeline.utils.config import load_settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "vendors.md"
NOW = datetime(2024, 3, 8, 23, tzinfo=UTC)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.S)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The module and the line of the page, as if they were in the package."""
    text, line, _ = blocks("python")
    name = f"{sources.__name__}.acme"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, str(PAGE), "exec"), module.__dict__)
    vendors = dict(sources.VENDORS)
    exec(line, {"VENDORS": vendors})
    monkeypatch.setattr(sources, "VENDORS", vendors)
    return module


@pytest.fixture
def fetch(wire: Wire, calendar, acme) -> Callable[..., sources.RawFrames]:
    def run(name: str, *, symbols: tuple[str, ...]) -> sources.RawFrames:
        settings = load_settings(
            source={"name": name, "symbols": symbols},
            fetch={"base_url": wire.url, "per_minute": 60_000},
        )
        source = sources.get(settings)
        clock = [0.0]  # pauses are counted, not slept
        source.fetcher = Fetcher(
            source.limits,
            settings.fetch,
            sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds),
            monotonic=lambda: clock[0],
        )
        return source.fetch(sources.Request(None, None, NOW, calendar))

    return run


def test_the_page_has_one_module_one_line_one_test():
    module, line, test = blocks("python")
    assert module.startswith('"""Acme')
    assert line.strip() == 'VENDORS["acme"] = "acme:AcmeVendor"'
    assert test.startswith("def test_")


def test_the_pages_own_test_passes(wire, fetch):
    (answer,) = blocks("json")
    scope = {"ANSWER": json.loads(answer)}
    exec(blocks("python")[2], scope)
    scope["test_acme_over_the_wire"](wire, fetch)


def test_what_the_example_gives_is_cleaned_as_any_other(wire, fetch, calendar):
    """The split of the example moves the index, not the return."""
    (answer,) = blocks("json")
    wire.serve("/v1/eod/AAA", json.loads(answer))
    got = fetch("acme", symbols=("AAA",))
    registry = instruments.clean(got.instruments, got.prices, calendar=calendar)
    clean = prices.clean(got.prices, registry, calendar, now=NOW)
    assert clean.quarantine.height == 0
    bars = clean.prices.sort("date")
    assert bars["date"].to_list() == [date(2024, 3, 7), date(2024, 3, 8)]
    assert bars["split_index"].to_list() == [1.0, 2.0]
    assert bars["tr_index"].to_list() == pytest.approx([1.0, 2 * 5.2 / 10.2])


def test_a_method_that_was_forgotten_is_named(wire, fetch, acme, monkeypatch):
    monkeypatch.setattr(acme.AcmeVendor, "gives", ("prices", "news"))
    wire.serve("/v1/eod/AAA", json.loads(blocks("json")[0]))
    with pytest.raises(ConfigError, match=r"'acme'.*prices, news.*no method 'news'"):
        fetch("acme", symbols=("AAA",))


def test_the_page_lists_everything_that_a_vendor_can_give():
    text = PAGE.read_text("utf-8")
    for what in GIVES:
        assert f"| `{what}` | `" in text, what
    for method in ("parts", "part", "bars", "secret", "_stored"):
        assert method in text
        assert hasattr(Vendor, method)


def test_every_vendor_of_the_package_is_as_the_page_says():
    """One line each: a class derived from Vendor, with a name, limits and what it gives."""
    from importlib import import_module

    for name, path in sources.VENDORS.items():
        module, _, cls = path.partition(":")
        vendor = getattr(import_module(f"{sources.__name__}.{module}"), cls)
        assert issubclass(vendor, Vendor), name
        assert vendor.name == name
        assert vendor.limits.per_minute > 0
        assert set(vendor.gives) <= set(GIVES)
        assert vendor.gives
