"""``wealthos backtest``: how each mandate would have done."""

from __future__ import annotations

from wealthos_pipeline.cli import options


def backtest(root: options.Root = None, as_json: options.AsJson = False) -> None:
    """Show the stored backtest of each mandate beside 1/N of the same universe, after costs."""
    raise NotImplementedError
