"""One module per vendor, all giving the same raw frames (DESIGN §9).

A vendor is a module with a class that derives from ``vendor.Vendor``, and one line in ``VENDORS``.
A package from elsewhere brings its own through an entry point of the group ``wealthos.sources``:
its name is the source's name, its object a factory ``(SourceSettings, FetchSettings, KeySettings)``
→ ``Source`` (a class derived from ``Vendor`` is one)::

    [project.entry-points."wealthos.sources"]
    ours = "our_package.vendor:OurVendor"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.sources.base import Bias, RawFrames, Request, Source, SourceInfo

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import (
        FetchSettings,
        KeySettings,
        Settings,
        SourceSettings,
    )

__all__ = ["VENDORS", "Bias", "RawFrames", "Request", "Source", "SourceInfo", "get", "load"]

Factory = Callable[["SourceSettings", "FetchSettings", "KeySettings"], Source]

VENDORS: dict[str, str] = {
    "alpha_vantage": "alpha_vantage:AlphaVantage",
    "finnhub": "finnhub:Finnhub",
    "fred": "fred:FredVendor",
    "treasury": "treasury:TreasuryVendor",
    "yahoo": "yahoo:Yahoo",
}
"""Name → class, in a module of this package. One line a vendor; imported when it is used."""


def load() -> dict[str, Factory]:
    """Name → factory of every source; entry points of the group ``wealthos.sources`` join in."""
    from importlib.metadata import entry_points

    found: dict[str, Factory] = {"sample": _sample, "files": _files}
    found |= {name: _vendor(path) for name, path in VENDORS.items()}
    for point in entry_points(group="wealthos.sources"):
        found.setdefault(point.name, _point(point.load))
    return found


def get(settings: Settings) -> Source:
    """The source called ``settings.source.name``, with those in ``settings.source.also`` joined in.

    ConfigError lists those that exist.
    """
    from wealthos_pipeline.data.sources.combined import SHARED, Combined

    factories = load()
    names = (settings.source.name, *settings.source.also)
    if missing := [n for n in names if n not in factories]:
        raise ConfigError(
            f"no source {', '.join(map(repr, missing))}; there are: {', '.join(sorted(factories))}"
        )
    if settings.source.name in settings.source.also:
        raise ConfigError(f"the source {settings.source.name!r} is named twice: drop it from also")

    def make(name: str) -> Source:
        part = settings.source.model_copy(update={"name": name})
        if name != settings.source.name:  # bars come from the primary
            part = part.model_copy(update={"gives": SHARED})
        return factories[name](part, settings.fetch, settings.keys)

    primary = make(settings.source.name)
    others = [make(name) for name in settings.source.also]
    if settings.source.fx is not None and settings.source.name != "files":  # it reads its own
        from wealthos_pipeline.data.sources.rates_of_exchange import RatesOfExchange

        others.append(RatesOfExchange(settings.source.fx))
    return Combined(primary, others) if others else primary


def _sample(source: SourceSettings, fetch: FetchSettings, keys: KeySettings) -> Source:
    from wealthos_pipeline.data.sources.sample import SampleSource

    return SampleSource()


def _files(source: SourceSettings, fetch: FetchSettings, keys: KeySettings) -> Source:
    from wealthos_pipeline.data.sources.files import FilesSource

    return FilesSource(source)


def _vendor(path: str) -> Factory:
    def make(source: SourceSettings, fetch: FetchSettings, keys: KeySettings) -> Source:
        from importlib import import_module

        module, name = path.split(":")
        factory: Factory = getattr(import_module(f"{__name__}.{module}"), name)
        return factory(source, fetch, keys)

    return make


def _point(load: Callable[[], Factory]) -> Factory:
    """The factory of an entry point, imported when it is used."""

    def make(source: SourceSettings, fetch: FetchSettings, keys: KeySettings) -> Source:
        return load()(source, fetch, keys)

    return make
