"""``load()``, SQL and the service give one frame: same rows, types and order, at random instants."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_root
from asgi_client import Client
from polars.testing import assert_frame_equal
from small_root import SmallRoot

from wealthos_pipeline import load
from wealthos_pipeline.api import create_app
from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError, ContractError, NoManifestError
from wealthos_pipeline.data.processors import earnings, fundamentals, macro, membership
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage import warehouse
from wealthos_pipeline.data.storage.run import Run

NAMES = small_root.SYMBOLS
LEFT, JOINED = "GE", "XOM"


def raw_rows(table: str, rows: list[dict[str, Any]], **usual: Any) -> pl.DataFrame:
    terms = contract(table)
    return terms.conform(pl.DataFrame([usual | r for r in rows], schema=terms.schema()))


def more_tables(root: SmallRoot) -> dict[str, pl.DataFrame]:
    """Statements, statistics, reports, series and membership around the root's sessions."""
    rng = np.random.default_rng(2020)
    calendar, days = root.calendar, root.days
    registry = root.lake.read("clean.instruments")
    loaded = calendar.known_at(days[10])
    later = calendar.known_at(days[25])
    now = calendar.known_at(days[-1]) + timedelta(hours=2)
    statements, reports, statistics = [], [], []
    for i, name in enumerate(NAMES):
        for month in (9, 12):
            end = date(2019, month, 30 if month == 9 else 31)
            for f, fetched in enumerate((loaded, later)):
                value = float(rng.integers(1, 5)) if f else 3.0 + i
                filed = None if i % 2 else datetime(2020, 1, 2 + i, 21, tzinfo=UTC)
                statements.append(
                    {"symbol": name, "period_end": end, "value": value, "fetched_at": fetched,
                     "published_at": filed}
                )  # fmt: skip
        for k, fetched in enumerate((days[5], days[15], days[30])):
            at = calendar.known_at(fetched)
            reports.append(
                {"symbol": name, "fetched_at": at, "report_date": days[20], "eps_estimate": 1.0 + k,
                 "eps_actual": None if k < 2 else 1.5, "hour": ("before", "after")[i % 2]}
            )  # fmt: skip
    for m in range(1, 4):
        for k in range(3):
            statistics.append(
                {"date": date(2019, 8 + m, 1), "vintage": str(k), "value": 100.0 + m + 0.1 * k,
                 "published_at": datetime(2019, 12, 1, 13, 30, tzinfo=UTC) + timedelta(days=20 * k + 7 * m)}
            )  # fmt: skip
    intervals = [
        {"symbol": n, "start": days[20] if n == JOINED else date(2019, 1, 2),
         "end": days[12] if n == LEFT else None}
        for n in NAMES
    ]  # fmt: skip
    intervals.append({"symbol": "CVX", "start": days[3], "end": days[30], "universe": "energy"})
    bac = {"symbol": "BAC", "start": days[0], "universe": "energy"}  # given by mistake, taken back
    intervals += [bac, bac | {"withdrawn": True, "fetched_at": later}]
    table = raw_rows(
        "raw.fundamentals", statements, source="sample", metric="revenue", period="quarter",
        vintage="", currency="USD",
    )  # fmt: skip
    calls = raw_rows("raw.earnings", reports, source="sample", period_end=date(2019, 12, 31))
    return {
        "clean.fundamentals": fundamentals.clean(table, registry, now=now),
        "clean.earnings": earnings.clean(calls, registry, calendar, now=now),
        "clean.macro": macro.clean(
            raw_rows("raw.macro", statistics, source="fred", series="cpi", unit="index",
                     frequency="month", fetched_at=loaded), now=now),
        "clean.membership": membership.clean(
            raw_rows("raw.membership", intervals, source="sample", universe="default", fetched_at=loaded),
            registry, calendar),
    }  # fmt: skip


def series(root: SmallRoot, changed: float) -> pl.DataFrame:
    rows = [
        {"series": "vix", "tenor": "", "date": d, "value": changed if k == 7 else 15.0 + k % 5,
         "unit": "index", "frequency": "day", "source": "sample", "basis": "assumed",
         "known_at": root.calendar.known_at(d)}
        for k, d in enumerate(root.days)
    ]  # fmt: skip
    return contract("clean.series").conform(pl.DataFrame(rows))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar) -> SmallRoot:
    """The small root after a restated bar and a restated value, with tables of every kind."""
    made = small_root.build(tmp_path_factory.mktemp("doors"), calendar, runs=2)
    for number, changed in ((7, 15.0), (8, 99.0)):
        now = calendar.known_at(made.days[-1]) + timedelta(hours=2 * number)
        with Run.open(made.lake, made.settings, now=now, run_id=f"doors-{number}") as run:
            made.lake.restate("clean.series", series(made, changed), now=now)
            for name, frame in more_tables(made).items():
                made.lake.replace(name, frame)
            manifest = run.publish(as_of=made.days[-1], source="sample")
    warehouse.publish(made.lake, manifest)
    return made


@pytest.fixture(scope="module")
def service(root: SmallRoot) -> Client:
    return Client(create_app(root.settings))


def instants(root: SmallRoot, count: int, seed: int) -> list[datetime]:
    """Random ones, and some at or just before which something became known."""
    rng = np.random.default_rng(seed)
    stamps = []
    for name in (
        "prices_history",
        "series_history",
        "fundamentals",
        "macro",
        "earnings",
        "membership",
    ):
        frame = root.lake.read(f"clean.{name}")
        stamps += (
            frame["known_from" if "known_from" in frame.columns else "known_at"].unique().to_list()
        )
    stamps = sorted(set(stamps))
    chosen = [stamps[int(i)] for i in rng.integers(0, len(stamps), count)]
    wild = [stamps[0] + (stamps[-1] - stamps[0]) * float(x) for x in rng.random(count)]
    return [*chosen, *(t - timedelta(microseconds=1) for t in chosen[: count // 2]), *wild]


def by_sql(
    root: SmallRoot, table: str, at: datetime | None, universe: str | None = None
) -> pl.DataFrame:
    order = ", ".join(contract(f"clean.{table}").sort_columns)
    if at is None:
        return warehouse.query(root.settings.root, f"FROM clean.{table} ORDER BY {order}")
    call = f"{table}_asof('{at.isoformat()}')"
    if universe is not None:
        call = f"{table}_of('{at.isoformat()}', '{universe}')"
    return warehouse.query(root.settings.root, f"FROM {call} ORDER BY {order}")


def by_http(service: Client, table: str, *, limit: int = 10_000, **asked: Any) -> pl.DataFrame:
    """All pages of a table, as a frame of the types that the answer names."""
    types = {
        "text": pl.String(), "date": pl.Date(), "instant": pl.Datetime("us", "UTC"),
        "double": pl.Float64(), "float": pl.Float32(), "int32": pl.Int32(), "int64": pl.Int64(),
        "bool": pl.Boolean(),
    }  # fmt: skip
    asked = {
        k: v.isoformat() if isinstance(v, date) else v for k, v in asked.items() if v is not None
    }
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        given = asked | {"limit": limit} | ({"cursor": cursor} if cursor else {})
        body = service.get(f"/v1/data/{table}", params=given).raise_for_status().json()
        rows += body["items"]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    schema = {c["name"]: types[c["type"]] for c in body["columns"]}
    text = pl.DataFrame(
        rows, schema={n: pl.String() if t.is_temporal() else t for n, t in schema.items()}
    )
    return text.with_columns(
        pl.col(n).str.to_date() if t == pl.Date() else pl.col(n).str.to_datetime(time_unit="us", time_zone="UTC")
        for n, t in schema.items()
        if t.is_temporal()
    )  # fmt: skip


TABLES = ("prices", "fundamentals", "series", "macro", "membership", "earnings", "instruments")


@pytest.mark.parametrize("table", TABLES)
def test_three_doors_lead_to_one_frame(table: str, root: SmallRoot, service: Client) -> None:
    place = root.settings.root
    seen = set()
    for at in [None, *instants(root, 8, seed=hash_of(table))]:
        frame = load(table, as_of=at, root=place)
        assert dict(frame.schema) == contract(f"clean.{table}").schema()
        assert_frame_equal(by_sql(root, table, at), frame, check_exact=True)
        assert_frame_equal(by_http(service, table, as_of=at), frame, check_exact=True)
        seen.add(frame.height)
    assert len(seen) > (table != "instruments") + 1, "the instants tell something apart"


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def test_three_doors_lead_to_the_members_of_a_universe(root: SmallRoot, service: Client) -> None:
    place, counts = root.settings.root, set()
    for at in instants(root, 8, seed=5):
        for name in ("default", "energy"):
            frame = load("prices", as_of=at, universe=name, root=place)
            assert_frame_equal(by_sql(root, "prices", at, name), frame, check_exact=True)
            again = by_http(service, "prices", as_of=at, universe=name)
            assert_frame_equal(again, frame, check_exact=True)
            counts.add((name, frame.height))
    assert len(counts) > 8
    now = load("prices", universe="energy", root=place)
    assert set(now["instrument_id"]) == {"id3"}, "an interval that was taken back counts no more"
    then = load(
        "prices", universe="energy", as_of=root.calendar.known_at(root.days[20]), root=place
    )
    assert set(then["instrument_id"]) == {"id2", "id3"}
    assert_frame_equal(by_http(service, "prices", universe="energy"), now, check_exact=True)
    everything = load("prices", universe="default", root=place)
    members = membership.universe(load("prices", root=place), load("membership", root=place))
    assert everything.select("date", "instrument_id").rows() == members.rows()
    left, joined = (everything.filter(pl.col("instrument_id") == f"id{i}")["date"] for i in (4, 5))
    assert (left.max(), joined.min()) == (root.days[12], root.days[20])


def test_pages_of_any_size_are_one_list(root: SmallRoot, service: Client) -> None:
    at = root.calendar.known_at(root.days[30])
    for table in ("prices", "fundamentals"):
        frame = load(table, as_of=at, root=root.settings.root)
        assert_frame_equal(by_http(service, table, as_of=at, limit=7), frame, check_exact=True)


def test_filters_are_the_same_at_every_door(root: SmallRoot, service: Client) -> None:
    start, end, place = root.days[5], root.days[9], root.settings.root
    frame = load("prices", start=start, end=end.isoformat(), symbols=["AMD", "XOM"],
                 columns=["date", "close"], root=place)  # fmt: skip
    assert frame.height == 10
    again = by_http(
        service, "prices", start=start, end=end, symbol=["AMD", "XOM"], columns="date,close"
    )
    assert_frame_equal(again, frame, check_exact=True)
    one = load("prices", start=start, end=end, symbols="AMD", columns="close", root=place)
    sql = f"SELECT close FROM clean.prices WHERE instrument_id = 'id1' AND date BETWEEN '{start}' AND '{end}' ORDER BY date"
    assert_frame_equal(warehouse.query(place, sql), one, check_exact=True)


def test_a_family_and_a_factor_by_name(root: SmallRoot, service: Client) -> None:
    place = root.settings.root
    at = root.calendar.known_at(root.days[11])
    family = load("factors.equity_demo", as_of=at, root=place)
    assert family["date"].max() == root.days[11]
    assert_frame_equal(load("equity_demo", as_of=at, root=place), family)
    assert_frame_equal(by_http(service, "equity_demo", as_of=at), family, check_exact=True)
    one = load("demo_up", as_of=at, root=place)
    assert_frame_equal(one, family.select(one.columns))
    assert one.columns[2:] == ["demo_up"], "the values, though scores have a column of that name"
    values = service.get("/v1/factors/demo_up", params={"as_of": at.isoformat(), "limit": 10_000})
    assert [v["value"] for v in values.json()["items"]] == family["demo_up"].to_list()


def test_what_was_not_known_is_not_there(root: SmallRoot) -> None:
    place = root.settings.root
    stated = load("fundamentals", as_of=root.calendar.known_at(root.days[20]), root=place)
    assert stated.height == stated.select("instrument_id", "period_end").unique().height
    versions = load("fundamentals", root=place)
    assert versions.height > stated.height
    then = load("membership", as_of=root.calendar.known_at(root.days[11]), root=place)
    ends = dict(then.select("instrument_id", "valid_to").iter_rows())
    assert ends["id4"] is None, "nobody knew that it would leave"
    assert "id5" not in ends, "nobody knew that it would join"
    now = load("membership", universe="default", root=place)
    assert dict(now.select("instrument_id", "valid_to").iter_rows())["id4"] == root.days[12]


def test_a_date_is_its_midnight(root: SmallRoot, service: Client) -> None:
    place, day = root.settings.root, root.days[15]
    frame = load("prices", as_of=day, root=place)
    assert frame["date"].max() == root.days[14]
    for same in (
        day.isoformat(),
        f"{day}T00:00:00Z",
        datetime(day.year, day.month, day.day, tzinfo=UTC),
    ):
        assert load("prices", as_of=same, root=place).equals(frame)
    sql = f"FROM prices_asof(DATE '{day}') ORDER BY date, instrument_id"
    assert_frame_equal(warehouse.query(place, sql), frame, check_exact=True)
    assert_frame_equal(by_http(service, "prices", as_of=day.isoformat()), frame, check_exact=True)
    shifted = service.get(f"/v1/data/prices?as_of={day}T02:00:00+02:00").json()
    assert shifted["as_of"] == f"{day}T00:00:00Z"


def test_the_runs_own_log_can_be_loaded(root: SmallRoot, service: Client) -> None:
    runs = load("runs", columns=["run_id"], root=root.settings.root)["run_id"].to_list()
    assert runs == ["run-0", "run-1", "doors-7", "doors-8"]
    assert by_http(service, "meta.runs", columns="run_id")["run_id"].to_list() == runs


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"table": "price"}, "Did you mean prices"),
        ({"table": "nonsense_of_nobody"}, "clean.fundamentals"),
        ({"table": "prices", "as_of": datetime(2020, 1, 9)}, "no time zone"),  # noqa: DTZ001
        ({"table": "prices", "as_of": "2020-01-09T10:00"}, "no time zone"),
        ({"table": "prices", "as_of": "yesterday"}, "2008-09-15"),
        ({"table": "prices", "start": "9 January"}, "start='9 January'"),
        ({"table": "prices", "universe": "sp500"}, "There are: default, energy"),
        ({"table": "prices", "symbols": ["AMD", "AMZN"]}, "no symbol called 'AMZN'"),
        ({"table": "series", "symbols": "AMD"}, "not about instruments"),
        ({"table": "series", "universe": "default"}, "no universe"),
        ({"table": "instruments", "universe": "default"}, "no universe"),
        ({"table": "raw.prices", "as_of": date(2020, 1, 9)}, "fetched_at"),
        ({"table": "meta.checks", "as_of": date(2020, 1, 9)}, "log of runs"),
        ({"table": "factors.summary", "as_of": date(2020, 1, 9)}, "sums up all dates"),
        ({"table": "clean.prices_history", "as_of": date(2020, 1, 9)}, "known_from"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_words(asked: dict[str, Any], words: str, root: SmallRoot,
                                                  service: Client) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=words):
        load(**asked, root=root.settings.root)
    params = {"symbol" if k == "symbols" else k: str(v) if isinstance(v, date) else v
              for k, v in asked.items() if k != "table"}  # fmt: skip
    answer = service.get(f"/v1/data/{asked['table']}", params=params)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_column_brings_those_that_are_there(root: SmallRoot, service: Client) -> None:
    with pytest.raises(ContractError, match="it has: instrument_id, date"):
        load("prices", columns=["closing"], root=root.settings.root)
    answer = service.get("/v1/data/prices", params={"columns": "closing"})
    assert answer.status_code == 422
    assert "it has: instrument_id, date" in answer.json()["detail"]


def test_nothing_published_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoManifestError, match="wealthos run"):
        load("prices", root=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/catalog", "/v1/data/"),
        ("/v1/factors", "factors.performance"),
        ("/v1/portfolio", "/v1/portfolio/{mandate}"),
        ("/v1/reports/latest", "wealthos report --as-of"),
    ],
)
def test_as_of_is_refused_where_it_cannot_be(path: str, words: str, service: Client) -> None:
    answer = service.get(path, params={"as_of": "2020-02-03"})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_portfolios_as_of_an_instant(root: SmallRoot, service: Client) -> None:
    at = root.calendar.known_at(root.days[20]).isoformat()
    nav = service.get("/v1/portfolio/balanced/nav", params={"as_of": at}).json()["items"]
    assert [p["date"] for p in nav] == [d.isoformat() for d in root.days[:21]]
    back = service.get("/v1/portfolio/balanced", params={"as_of": at, "kind": "backtest"}).json()
    assert back["nav"]["date"] == root.days[20].isoformat()
    assert back["solve"] is None, "its only decision came later"
    live = service.get("/v1/portfolio/balanced", params={"as_of": at})
    assert live.status_code == 404
    assert "record.issued" in live.json()["detail"]
    now = service.get("/v1/portfolio/balanced", params={"as_of": "2030-01-01"})
    assert now.json()["solve"] == service.get("/v1/portfolio/balanced").json()["solve"]


def test_the_door_opens_without_weight() -> None:
    """Importing the package loads nothing; naming ``load`` does."""
    code = (
        "import sys, wealthos_pipeline as w\n"
        "assert not {'polars', 'pydantic', 'numpy', 'duckdb'} & set(sys.modules)\n"
        "assert w.load.__name__ == 'load' and 'polars' in sys.modules\n"
        "assert 'duckdb' not in sys.modules and 'dagster' not in sys.modules\n"
        "try:\n    w.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("has no attribute 'nothing'"), done.stderr
