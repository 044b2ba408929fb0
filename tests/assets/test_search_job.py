"""Searching is a job of its own: no run does it, and what it finds is published."""

from __future__ import annotations

import pytest


def test_only_the_search_job_searches() -> None:
    from wealthos_pipeline.definitions import defs

    def keys(job: str) -> set[str]:
        layer = defs.resolve_job_def(job).asset_layer
        return {k.to_user_string() for k in layer.executable_asset_keys}

    assert keys("search") == {"models/searches", "meta/checks", "publish/manifest"}
    for job in ("daily", "retrain", "backfill", "from_raw"):
        found = keys(job)
        assert "models/searches" not in found
        assert {"models/importance", "models/drift", "publish/manifest"} <= found


def test_models_without_a_search_leave_an_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, date, datetime
    from types import SimpleNamespace

    import polars as pl

    from assets import model_search
    from assets._shared.work import Work
    from wealthos_pipeline import factors
    from wealthos_pipeline.utils.config import load_settings

    library = factors.load()
    first = pl.DataFrame({"date": [date(2020, 1, 2)]}).lazy()
    lake = SimpleNamespace(scan=lambda *_, **__: first)
    session = SimpleNamespace(settings=load_settings(), lake=lake, now=datetime.now(UTC))
    work = Work(session, None)  # type: ignore[arg-type]
    from wealthos_pipeline.ml import specs

    plain = [m.model_copy(update={"search": None}) for m in specs.load(session.settings.models)]
    monkeypatch.setattr(specs, "load", lambda *_: plain)
    made = model_search.searches(library).compute(work)["models.searches"]
    assert isinstance(made, pl.DataFrame)
    assert made.is_empty()
    assert work.said == ["none of the models has a search"]
