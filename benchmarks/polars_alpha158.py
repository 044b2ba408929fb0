"""Alpha158 as a good user of Polars would write it: the baseline that needs no engine.

Suspended sessions become rows of nulls, what several factors share is a column made once, and
windows count rows of an instrument (``.over``). Sums give the trend lines.
"""

from __future__ import annotations

import polars as pl

WINDOWS = (5, 10, 20, 30, 60)
ID = "instrument_id"


def alpha158(bars: pl.DataFrame) -> pl.DataFrame:
    """``date, instrument_id`` and 158 Float32 columns, named as Qlib names them.

    bars: ``date, instrument_id, open, high, low, close, volume, vwap``, sorted by date and instrument.
    """
    frame = _shared(_complete(bars))
    wide = frame.lazy().select(ID, "slot", *_bars(), *_rolling()).collect()
    for n in WINDOWS:
        wide = wide.hstack(_places(frame, n))
    kept = frame["close"].is_not_null()
    return wide.drop(ID, "slot").filter(kept).insert_column(0, frame["date"].filter(kept)).insert_column(
        1, frame[ID].filter(kept)
    )  # fmt: skip


def _complete(bars: pl.DataFrame) -> pl.DataFrame:
    """One row a session from each instrument's first bar to its last."""
    days = pl.DataFrame({"date": bars["date"].unique().sort()}).with_row_index("slot")
    bars = bars.join(days, on="date")
    spans = bars.group_by(ID).agg(first=pl.col("slot").min(), last=pl.col("slot").max()).sort(ID)
    every = spans.select(ID, slot=pl.int_ranges("first", pl.col("last") + 1)).explode("slot")
    every = every.cast({"slot": days["slot"].dtype})
    return every.join(bars, on=[ID, "slot"], how="left", maintain_order="left")


def _shared(frame: pl.DataFrame) -> pl.DataFrame:
    """What several factors need."""
    close, volume = pl.col("close"), pl.col("volume")
    frame = frame.with_columns(
        x=pl.when(close.is_not_null()).then(pl.int_range(pl.len()).over(ID).cast(pl.Float64)),
        before=close.shift(1).over(ID),
        volume_before=volume.shift(1).over(ID),
        log_volume=(volume + 1).log(),
    )
    move, change = close - pl.col("before"), volume - pl.col("volume_before")
    ratio = close / pl.col("before")
    changed = (volume / pl.col("volume_before") + 1).log()
    return frame.with_columns(
        xy=pl.col("x") * close, xx=pl.col("x") ** 2, yy=close**2,
        rose=(close > pl.col("before")).fill_null(False).cast(pl.Float64),
        fell=(close < pl.col("before")).fill_null(False).cast(pl.Float64),
        up=move.clip(lower_bound=0), down=(-move).clip(lower_bound=0), moved=move.abs(),
        volume_up=change.clip(lower_bound=0), volume_down=(-change).clip(lower_bound=0),
        volume_moved=change.abs(),
        ratio=pl.when(changed.is_finite()).then(ratio), changed=pl.when(changed.is_finite()).then(changed),
        weighted=(ratio - 1).abs() * volume,
    )  # fmt: skip


def _bars() -> list[pl.Expr]:
    o, h, low, c = (pl.col(n) for n in ("open", "high", "low", "close"))
    span = h - low + 1e-12
    top, bottom = pl.max_horizontal(o, c), pl.min_horizontal(o, c)
    found = {
        "KMID": (c - o) / o, "KLEN": (h - low) / o, "KMID2": (c - o) / span,
        "KUP": (h - top) / o, "KUP2": (h - top) / span, "KLOW": (bottom - low) / o,
        "KLOW2": (bottom - low) / span, "KSFT": (2 * c - h - low) / o,
        "KSFT2": (2 * c - h - low) / span, "OPEN0": o / c, "HIGH0": h / c, "LOW0": low / c,
        "VWAP0": pl.col("vwap") / c,
    }  # fmt: skip
    return [e.cast(pl.Float32).alias(n) for n, e in found.items()]


def _rolling() -> list[pl.Expr]:
    c, v = pl.col("close"), pl.col("volume")
    out = []
    for n in WINDOWS:

        def total(name: str, n: int = n) -> pl.Expr:
            return pl.col(name).rolling_sum(n, min_samples=1).over(ID)

        def mean(name: str, n: int = n) -> pl.Expr:
            return pl.col(name).rolling_mean(n, min_samples=1).over(ID)

        def std(name: str, n: int = n) -> pl.Expr:
            return pl.col(name).rolling_std(n, min_samples=2).over(ID)

        count = c.is_not_null().cast(pl.Float64).rolling_sum(n, min_samples=1).over(ID)
        sx, sy = total("x"), total("close")
        top = count * total("xy") - sx * sy
        bottom = count * total("xx") - sx**2
        slope = top / bottom
        high = pl.col("high").rolling_max(n, min_samples=1).over(ID)
        low = pl.col("low").rolling_min(n, min_samples=1).over(ID)
        moved, vmoved = total("moved") + 1e-12, total("volume_moved") + 1e-12
        found = {
            "ROC": c.shift(n).over(ID) / c,
            "MA": mean("close") / c,
            "STD": std("close") / c,
            "BETA": slope / c,
            "RSQR": top**2 / (bottom * (count * total("yy") - sy**2)),
            "RESI": (c - sy / count - slope * (pl.col("x") - sx / count)) / c,
            "MAX": high / c,
            "MIN": low / c,
            "QTLU": c.rolling_quantile(0.8, "linear", n, min_samples=1).over(ID) / c,
            "QTLD": c.rolling_quantile(0.2, "linear", n, min_samples=1).over(ID) / c,
            "RANK": c.rolling_rank(n, "average", min_samples=1).over(ID) / count,
            "RSV": (c - low) / (high - low + 1e-12),
            "CORR": pl.rolling_corr(c, pl.col("log_volume"), window_size=n, min_samples=2).over(ID),
            "CORD": pl.rolling_corr(
                pl.col("ratio"), pl.col("changed"), window_size=n, min_samples=2
            ).over(ID),
            "CNTP": mean("rose"),
            "CNTN": mean("fell"),
            "CNTD": mean("rose") - mean("fell"),
            "SUMP": total("up") / moved,
            "SUMN": total("down") / moved,
            "SUMD": (total("up") - total("down")) / moved,
            "VMA": mean("volume") / (v + 1e-12),
            "VSTD": std("volume") / (v + 1e-12),
            "WVMA": std("weighted") / (mean("weighted") + 1e-12),
            "VSUMP": total("volume_up") / vmoved,
            "VSUMN": total("volume_down") / vmoved,
            "VSUMD": (total("volume_up") - total("volume_down")) / vmoved,
        }
        out += [e.cast(pl.Float32).alias(f"{name}{n}") for name, e in found.items()]
    return out


def _places(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """``IMAX, IMIN, IMXD`` of one window."""
    found = (
        frame.select(ID, pl.col("slot").cast(pl.Int64), "high", "low")
        .rolling("slot", period=f"{n}i", group_by=ID)
        .agg(top=pl.col("high").arg_max() + 1.0, bottom=pl.col("low").arg_min() + 1.0)
    )
    top, bottom = pl.col("top"), pl.col("bottom")
    places = {f"IMAX{n}": top / n, f"IMIN{n}": bottom / n, f"IMXD{n}": (top - bottom) / n}
    return found.select(e.cast(pl.Float32).alias(name) for name, e in places.items())
