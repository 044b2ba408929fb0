"""One module per vendor, all giving the same raw frames (DESIGN §9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.sources.base import Bias, RawFrames, Request, Source, SourceInfo

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import SourceSettings

__all__ = ["Bias", "RawFrames", "Request", "Source", "SourceInfo", "get", "load"]

Factory = Callable[["SourceSettings"], Source]


def load() -> dict[str, Factory]:
    """Name → factory of every source; entry points of the group ``wealthos.sources`` join in."""
    from importlib.metadata import entry_points

    def sample(settings: SourceSettings) -> Source:
        from wealthos_pipeline.data.sources.sample import SampleSource

        return SampleSource()

    def files(settings: SourceSettings) -> Source:
        from wealthos_pipeline.data.sources.files import FilesSource

        return FilesSource(settings)

    found: dict[str, Factory] = {"sample": sample, "files": files}
    for point in entry_points(group="wealthos.sources"):
        found.setdefault(point.name, point.load())
    return found


def get(settings: SourceSettings) -> Source:
    """The source called ``settings.name``; ConfigError lists those that exist."""
    factories = load()
    if settings.name not in factories:
        raise ConfigError(f"no source {settings.name!r}; there are: {', '.join(sorted(factories))}")
    return factories[settings.name](settings)
