"""Books against a plain loop over shares and cash; costs by hand; incremental, as-of, too little."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.processors.prices import Flag
from wealthos_pipeline.ml import evaluation as room

FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
H, DAYS, NAMES, BP = 4, 60, 17, 12.5


@dataclass(frozen=True)
class Market:
    """A small market: arrays (days, names), NaN or False where there is no bar."""

    calendar: TradingCalendar
    days: list[date]
    index: np.ndarray
    bar: np.ndarray
    terminal: np.ndarray
    score: np.ndarray

    def prices(self) -> pl.DataFrame:
        return self._frame(self.bar, self.index, "tr_index").with_columns(
            pl.Series("flags", np.where(self.terminal, int(Flag.TERMINAL), 0)[self.bar], pl.Int32)
        )

    def predictions(self, model: str = "m") -> pl.DataFrame:
        seen = np.isfinite(self.score)
        return self._frame(seen, self.score, "prediction").with_columns(
            pl.lit(model).alias("model"),
            pl.lit("walk_forward").alias("kind"),
            pl.lit(H, pl.Int32).alias("horizon"),
        )

    def universe(self) -> pl.DataFrame:
        return self._frame(self.bar & ~self.terminal, self.index, "x").drop("x")

    def _frame(self, seen: np.ndarray, values: np.ndarray, name: str) -> pl.DataFrame:
        row, code = np.nonzero(seen)
        return pl.DataFrame(
            {
                "date": [self.days[r] for r in row],
                "instrument_id": [f"N{c:02d}" for c in code],
                name: values[seen],
            }
        )


@pytest.fixture(scope="module")
def market() -> Market:
    """17 names with gaps; N02 is delisted with a stated loss, N05 just ends, N07 is listed late."""
    calendar = TradingCalendar()
    days = calendar.sessions(date(2010, 3, 1), date(2010, 12, 31))[:DAYS]
    rng = np.random.default_rng(11)
    index = np.cumprod(1 + 0.03 * rng.standard_normal((DAYS, NAMES)), axis=0)
    bar = rng.random((DAYS, NAMES)) > 0.05
    terminal = np.zeros((DAYS, NAMES), dtype=bool)
    bar[31, 2] = terminal[31, 2] = True
    index[31, 2] = 0.3 * index[30, 2]
    bar[32:, 2] = bar[40:, 5] = bar[:20, 7] = False
    score = np.where(bar & ~terminal, rng.standard_normal((DAYS, NAMES)), np.nan)
    score[25] = np.nan  # a session without predictions
    score[27, 3:] = np.nan  # too few names
    return Market(calendar, days, index, bar, terminal, score)


def made(market: Market, **more) -> pl.DataFrame:
    keywords = {"costs_bp": BP, "known_until": FOREVER} | more
    return room.returns(
        market.predictions(), market.prices(), market.universe(), market.calendar, H, **keywords
    )


def plain(market: Market, book: str) -> dict[date, dict[str, float]]:
    """The same book by shares and cash, one tranche after the other."""
    last = market.index.copy()
    for t in range(DAYS):
        for i in range(NAMES):
            if not market.bar[t, i]:
                last[t, i] = last[t - 1, i] if t and np.isfinite(last[t - 1, i]) else np.nan
    cash = [1.0 / H] * H
    shares: list[dict[int, float]] = [{} for _ in range(H)]
    out: dict[date, dict[str, float]] = {}
    value_before = 1.0
    for d in range(DAYS):
        values = [cash[k] + sum(n * last[d, i] for i, n in shares[k].items()) for k in range(H)]
        long = sum(n * last[d, i] for s in shares for i, n in s.items() if n > 0) if d else 0.0
        gain = sum(values) - value_before
        # delisted: the shares become cash, without a trade
        for k in range(H):
            for i in [i for i in shares[k] if market.terminal[d, i]]:
                cash[k] += shares[k].pop(i) * last[d, i]
        wanted: dict[int, float] = {}
        scores = market.score[d - 1] if d else np.full(NAMES, np.nan)
        named = [i for i in range(NAMES) if np.isfinite(scores[i])]
        if named and book == "equal_weight":  # 1/N is of all members
            named = np.flatnonzero(market.bar[d - 1] & ~market.terminal[d - 1]).tolist()
        size = len(named) // 5
        if size:
            ranked = sorted(named, key=lambda i: (scores[i], i))
            if book == "equal_weight":
                wanted = {i: 1 / len(named) for i in named}
            else:
                wanted = dict.fromkeys(ranked[-size:], 1 / size)
            if book == "long_short":
                wanted |= dict.fromkeys(ranked[:size], -1 / size)
        tradable = market.bar[d] & ~market.terminal[d]
        target = {i: w / H for i, w in wanted.items() if tradable[i]}
        k = d % H
        old = {i: n * last[d, i] for i, n in shares[k].items()}
        traded = sum(abs(target.get(i, 0.0) - old.get(i, 0.0)) for i in set(old) | set(target))
        out[market.days[d]] = {
            "gross": gain / value_before, "cost": BP / 1e4 * traded / value_before,
            "turnover": traded / 2 / value_before, "long": long,
        }  # fmt: skip
        shares[k] = {i: v / last[d, i] for i, v in target.items()}
        cash[k] = 1.0 / H - sum(target.values())
        value_before = sum(
            cash[k] + sum(n * last[d, i] for i, n in shares[k].items()) for k in range(H)
        )
    return out


@pytest.mark.parametrize("book", ["long_short", "long_only", "equal_weight"])
def test_a_book_is_that_of_shares_and_cash(market, book) -> None:
    rows = made(market).filter(pl.col("book") == book)
    expected = plain(market, book)
    assert rows["date"].to_list() == market.days[H + 1 :]
    for row in rows.iter_rows(named=True):
        want = expected[row["date"]]
        for name in ("gross", "cost", "turnover"):
            assert row[name] == pytest.approx(want[name], abs=1e-14), (row["date"], name)
        assert row["net"] == row["gross"] - row["cost"]


def test_the_market_has_what_it_should_have(market) -> None:
    """The loop above met a delisting inside a book, an unfilled order and a sale after a gap."""
    held = market.score[27:31, 2]
    assert np.isfinite(held).any()
    top = [
        i for t in range(DAYS - 1)
        for i in np.argsort(np.where(np.isfinite(market.score[t]), market.score[t], -9))[-3:]
        if np.isfinite(market.score[t, i]) and not market.bar[t + 1, i]
    ]  # fmt: skip
    assert top


def test_costs_by_hand() -> None:
    """Two tranches, ten names, the best two change places with the worst two every session."""
    calendar = TradingCalendar()
    days = calendar.sessions(date(2010, 3, 1), date(2010, 6, 1))[:12]
    score = np.tile(np.arange(10.0), (12, 1))
    score[1::2] *= -1
    flat = np.ones((12, 10))
    market = Market(calendar, days, flat, flat > 0, flat < 0, score)
    rows = room.returns(
        market.predictions().with_columns(pl.lit(2, pl.Int32).alias("horizon")),
        market.prices(), market.universe(), calendar, 2, costs_bp=10, known_until=FOREVER,
    )  # fmt: skip
    # a tranche is renewed by scores of its own parity: the same names, nothing traded
    assert rows["turnover"].unique().to_list() == rows["cost"].unique().to_list() == [0.0]
    rows = room.returns(
        market.predictions().with_columns(pl.lit(1, pl.Int32).alias("horizon")),
        market.prices(), market.universe(), calendar, 1, costs_bp=10, known_until=FOREVER,
    )  # fmt: skip
    # one tranche: all is sold and bought; 2 a side of the long-only book, 4 of the long-short one
    per_book = {
        b: rows.filter(pl.col("book") == b) for b in ("long_only", "long_short", "equal_weight")
    }
    for book, traded in (("long_only", 2.0), ("long_short", 4.0), ("equal_weight", 0.0)):
        assert per_book[book]["turnover"].to_list() == pytest.approx([traded / 2] * 10)
        assert per_book[book]["cost"].to_list() == pytest.approx([traded * 0.001] * 10)
        assert per_book[book]["gross"].to_list() == [0.0] * 10
    assert per_book["long_short"]["names"].unique().to_list() == [4]
    assert per_book["equal_weight"]["long"].to_list() == pytest.approx([1.0] * 10)


@pytest.mark.parametrize("first", [H + 3, 26, 28, 33, DAYS - 1])
def test_incremental_equals_full(market, first) -> None:
    full = made(market)
    start = market.days[first]
    since = pl.col("date") >= market.calendar.offset(start, -room.lookback(H))
    part = room.returns(
        market.predictions().filter(since), market.prices().filter(since),
        market.universe().filter(since), market.calendar, H, costs_bp=BP, start=start, known_until=FOREVER,
    )  # fmt: skip
    assert part.height > 0
    assert part.equals(full.filter(pl.col("date") >= start))


@pytest.mark.parametrize("last", [20, 31, 45])
def test_later_bars_change_nothing(market, last) -> None:
    at = market.calendar.known_at(market.days[last])
    known = pl.col("date") <= market.days[last]
    cut = room.returns(
        market.predictions().filter(known), market.prices().filter(known), market.universe().filter(known),
        market.calendar, H, costs_bp=BP, known_until=at,
    )  # fmt: skip
    assert cut.equals(made(market, known_until=at))
    assert cut.equals(made(market).filter(pl.col("known_at") <= at))
    assert cut["date"].max() == market.days[last]


def test_benchmarks_are_books_of_a_score_column(market) -> None:
    """A benchmark whose column is the model's score with the other sign is the model."""
    scores = market.predictions().select(
        "date", "instrument_id", (-pl.col("prediction")).alias("reversal_1m")
    )
    rows = made(market, scores=scores, benchmarks={"reversal": ("reversal_1m", -1)})
    assert set(rows["model"]) == {"m", "reversal", "equal_weight"}
    mine, other = (rows.filter(pl.col("model") == m).drop("model") for m in ("m", "reversal"))
    assert mine.equals(other)


def test_no_opinion_and_too_few_names_hold_nothing(market) -> None:
    def of(predictions: pl.DataFrame) -> pl.DataFrame:
        return room.returns(
            predictions, market.prices(), market.universe(), market.calendar, H, costs_bp=BP,
            known_until=FOREVER,
        )  # fmt: skip

    flat = of(market.predictions().with_columns(pl.lit(0.1).alias("prediction")))
    few = of(market.predictions().filter(pl.col("instrument_id") < "N04"))
    for rows in (flat, few):
        mine = rows.filter(pl.col("model") == "m")
        assert set(mine["book"]) == {"long_short", "long_only"}
        for name in ("gross", "cost", "turnover", "names", "long", "short"):
            assert set(mine[name]) == {0}
    assert of(market.predictions().clear()).is_empty()


@pytest.mark.parametrize("book", ["long_short", "long_only"])
def test_a_model_that_holds_cash_for_a_while_has_those_days_and_pays_its_way_back(
    market, book
) -> None:
    """No opinion on 18 sessions: flat scores, as of a classifier that ranked nothing right out of fold."""
    score = market.score.copy()
    score[22:40] = np.where(np.isfinite(score[22:40]), 0.5, np.nan)
    quiet = replace(market, score=score)
    rows = made(quiet).filter(pl.col("book") == book)
    assert rows["date"].to_list() == market.days[H + 1 :]
    away = rows.filter(pl.col("date").is_between(market.days[22 + H + 2], market.days[40]))
    assert away.height > H
    assert set(away["gross"]) == set(away["cost"]) == {0}
    held = np.where(np.ptp(np.nan_to_num(score, nan=0.5), axis=1)[:, None] > 0, score, np.nan)
    expected = plain(replace(market, score=held), book)
    for row in rows.iter_rows(named=True):
        for name in ("gross", "cost", "turnover"):
            want = expected[row["date"]][name]
            assert row[name] == pytest.approx(want, abs=1e-14), (row["date"], name)
    back = rows.filter(pl.col("date").is_in(market.days[41 : 41 + H]))
    sides = 2 if book == "long_short" else 1
    assert back["cost"].sum() > 0.8 * sides * BP / 1e4


def test_weights_are_as_stated(market) -> None:
    rows = made(market)
    longs = rows.filter(pl.col("book") != "long_short")
    assert longs["short"].abs().max() == 0
    assert longs["long"].max() <= 1 + 1e-12
    assert longs["long"].min() > 0.4  # cash: orders that were not filled, sessions without scores
    both = rows.filter(pl.col("book") == "long_short")
    assert (both["long"] - both["short"]).abs().max() < 0.4
