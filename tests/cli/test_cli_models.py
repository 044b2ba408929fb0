"""``wealthos models``: what is shown, what a person decides, trainings apart from what is live."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_root

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.data.storage.lock import lock
from wealthos_pipeline.data.storage.run import Run
from wealthos_pipeline.ml import decisions, registry

WHO = ("--owner", "ann", "--reason", "the other one is wild")
LAST = "lightgbm"


def lightgbm(root: small_root.SmallRoot) -> pl.DataFrame:
    """The fits of the small root's ridge under another name: two models to choose from."""
    fits = root.lake.read("models.registry")
    return fits.with_columns(
        pl.lit(LAST).alias("model"), pl.col("model_id").str.replace("ridge", LAST)
    )


def champions(root: small_root.SmallRoot) -> pl.DataFrame:
    """Ridge was appointed, then lightgbm promoted."""
    table = contract("models.champions")
    rows = [
        {"slot": "alpha", "date": root.days[i], "champion": name, "challenger": None, "decision": how,
         "decided_by": "policy", "reason": "r", "evidence": "[]", "policy_hash": "0",
         "known_at": root.calendar.known_at(root.days[i])}
        for i, name, how in ((0, "ridge", "appointed"), (20, LAST, "promoted"))
    ]  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


def returns(root: small_root.SmallRoot) -> pl.DataFrame:
    """Books whose net returns differ by model: 1/N, momentum and the two."""
    table = contract("models.returns")
    n = len(root.days)
    rows = [
        {"model": m, "horizon": 20, "book": b, "date": d, "gross": g, "cost": 0.0001, "net": g - 0.0001,
         "turnover": 0.05, "names": 6, "long": 1.0, "short": 1.0 if b == "long_short" else 0.0,
         "known_at": root.calendar.known_at(d)}
        for k, (m, b) in enumerate(
            [(m, b) for m in ("ridge", LAST, "momentum") for b in ("long_short", "long_only")]
            + [("equal_weight", "equal_weight")]
        )
        for i, d in enumerate(root.days[:n])
        for g in [0.001 * (((i * (k + 3)) % 7) - 2.5)]
    ]  # fmt: skip
    return table.conform(pl.DataFrame(rows, schema=table.schema()))


@pytest.fixture(scope="module")
def life(
    tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar
) -> small_root.SmallRoot:
    """Two runs, two models, a champion that changed, books and live results. Decisions are appended to it."""
    root = small_root.build(tmp_path_factory.mktemp("life"), calendar, runs=2)
    lake = root.lake
    judged = lake.read("models.evaluation")
    better = judged.with_columns(
        pl.lit(LAST).alias("model"),
        (pl.col("rank_ic") + 0.01 * (pl.int_range(pl.len()) % 3)).alias("rank_ic"),
    )
    table = contract("models.live")
    live = table.conform(
        judged.select(
            "model", "horizon", "date", "n", "known_at", pl.lit(0.05).alias("rank_ic"),
            pl.lit("run-0").alias("run_id"), pl.col("known_at").alias("issued_at"),
        )
    )  # fmt: skip
    now = root.runs[-1].finished_at + timedelta(hours=1)
    with Run.open(lake, root.settings, now=now, run_id="life") as run:
        lake.replace("models.registry", pl.concat([lightgbm(root), lake.read("models.registry")]))
        lake.replace("models.evaluation", pl.concat([better, judged]))
        lake.replace("models.champions", champions(root))
        lake.replace("models.returns", returns(root))
        lake.replace("models.live", live)
        run.publish(as_of=root.days[-1], source="sample")
    return root


@pytest.fixture
def say(call: Any, life: small_root.SmallRoot) -> Any:
    return lambda *words: call("models", *words, "--root", life.settings.root)


def test_the_list_marks_the_champion_and_stands_live_beside_walk_forward(say: Any) -> None:
    rows = {(r["model"], r["kind"]): r for r in say("list", "--json").json}
    assert rows[LAST, "live"]["champion_of"] == ["alpha"]
    assert rows["ridge", "live"]["champion_of"] == []
    assert rows["ridge", "live"]["live"]["mean_rank_ic"] == pytest.approx(0.05)
    assert rows["ridge", "live"]["live"]["expected"] == pytest.approx(0.03)
    assert rows["ridge", "walk_forward"]["mean_rank_ic"] == pytest.approx(0.03)
    out = say("list").out
    assert "champion" in out
    assert "+0.0500" in out


def test_families_tell_what_can_be_set(say: Any, call: Any) -> None:
    found = {f["family"]: f for f in call("models", "families", "--json").json}
    names = [p["name"] for p in found["ridge"]["parameters"]]
    assert "alpha" in names
    assert "ridge" in call("models", "families").out


def test_a_model_is_judged_from_all_sides(say: Any) -> None:
    body = say("evaluate", "ridge", "--json").json
    assert [r["what"] for r in body["ics"]] == ["ic", "rank_ic"]
    assert body["ics"][1]["mean"] == pytest.approx(0.03)
    assert [y["year"] for y in body["years"]] == [2020]
    assert {b["model"] for b in body["books"]} == {"ridge", "momentum", "equal_weight"}
    one = next(b for b in body["books"] if b["book"] == "equal_weight")
    assert one["net"] == pytest.approx(one["gross"] - one["cost"])
    out = say("evaluate", "ridge").out
    for words in ("95 % interval", "By year", "Books, a year"):
        assert words in out
    wrong = say("evaluate", "ridge", "--horizon", 5)
    assert wrong.code == 2
    assert "was not judged at 5 sessions but at 20" in wrong.err
    unknown = say("evaluate", "rigde")
    assert unknown.code == 2
    assert "Did you mean ridge" in unknown.err


def test_models_are_compared_in_pairs(say: Any, life: small_root.SmallRoot) -> None:
    body = say("compare", LAST, "ridge", "--json").json
    (pair,) = body["pairs"]
    rows = life.lake.read("models.evaluation").pivot("model", index="date", values="rank_ic")
    assert pair["rank_ic"]["difference"] == pytest.approx((rows[LAST] - rows["ridge"]).mean())
    books = life.lake.read("models.returns").filter(pl.col("book") == "long_short")
    net = books.pivot("model", index="date", values="net")
    assert pair["net"]["difference"] == pytest.approx((net[LAST] - net["ridge"]).mean())
    assert body["pbo"] is body["spa_p"] is None  # 40 sessions compare nothing
    assert "lightgbm − ridge" in say("compare", LAST, "ridge").out
    assert "two models at least" in say("compare", "ridge", "ridge").err


def test_nothing_published_is_said(call: Any, nowhere: Path) -> None:
    for words in (["list"], ["evaluate", "x"], ["promote", "x"], ["train", "ridge"], ["card", "x"]):
        said = call("models", *words, "--root", nowhere)
        assert said.code != 0
        assert "wealthos run" in said.err


def test_a_card_is_a_page(say: Any, tmp_path: Path) -> None:
    page = tmp_path / "ridge.html"
    done = say("card", "ridge", "--out", page, "--json")
    assert done.code == 0, done.err
    assert done.json == {"model": "ridge", "file": str(page)}
    assert "model card" in page.read_text("utf-8")
    assert "Did you mean ridge" in say("card", "rigde").err


def test_a_search_needs_a_model_that_says_what_to_search(say: Any) -> None:
    for words in (["search"], ["search", "ridge"]):
        said = say(*words)
        assert said.code == 2
        assert "key `search`" in said.err


# --- what a person decides ---------------------------------------------------------------------------


def test_promote_rollback_pin_and_unpin_are_rows_with_an_owner(
    say: Any, life: small_root.SmallRoot
) -> None:
    done = say("rollback", *WHO)
    assert done.code == 0, done.err
    assert "ridge is champion of alpha again" in done.out
    done = say("promote", "ridge", *WHO, "--json")
    assert done.code == 0, done.err
    (row,) = done.json
    assert (row["action"], row["slot"], row["model"], row["owner"]) == (
        "promote",
        "alpha",
        "ridge",
        "ann",
    )

    # the live fit of the run before serves again, read from that run's tables
    before = life.lake.read("models.registry", version=life.runs[0].tables["models.registry"])
    old = before.filter(pl.col("kind") == "live").row(0, named=True)
    now = life.lake.read("models.registry").filter(
        (pl.col("kind") == "live") & (pl.col("model") == "ridge")
    )
    assert old["model_id"] not in now["model_id"].to_list()
    done = say("rollback", "--model", "ridge", *WHO)
    assert done.code == 0, done.err
    assert old["model_id"] in done.out
    said = life.lake.read("raw.model_decisions")
    at = said["decided_at"].max()
    names = contract("models.registry").column_names
    assert decisions.pins(said, at)["ridge"] == {k: old.get(k) for k in names}  # type: ignore[arg-type]
    assert "is pinned" in say("list").err

    done = say("unpin", "ridge", *WHO)
    assert done.code == 0, done.err
    said = life.lake.read("raw.model_decisions")
    assert said["action"].to_list() == ["rollback", "promote", "pin", "unpin"]
    assert decisions.pins(said, said["decided_at"].max()) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["promote", "ridge", "--owner", "ann"], "Missing: --reason"),
        (["promote", LAST, *WHO], "is champion of alpha already"),
        (["promote", "ridg", *WHO], "Did you mean ridge"),
        (["promote", "ridge", "--slot", "beta", *WHO], "no slot 'beta'; it has: alpha"),
        (["rollback", "--slot", "alpha", "--model", "ridge", *WHO], "use one of them"),
        (["rollback", "--to", "ols", *WHO], "ols was not champion of alpha"),
        (["rollback", "--model", "ridge", "--to", "ridge.live.1999", *WHO], "no fit called"),
        (["rollback", "--model", LAST, *WHO], "nothing to go back to"),
        (["unpin", LAST, *WHO], "no fit of lightgbm is pinned"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_words(
    words: list[str], says: str, say: Any, life: small_root.SmallRoot
) -> None:
    before = life.lake.read("raw.model_decisions").height
    said = say(*words)
    assert said.code == 2
    assert says in said.err
    assert life.lake.read("raw.model_decisions").height == before


def test_a_decision_waits_for_the_lock(say: Any, life: small_root.SmallRoot) -> None:
    before = life.lake.read("raw.model_decisions").height
    with lock(life.settings.root, "another run"):
        assert say("rollback", *WHO).code == 6
    assert life.lake.read("raw.model_decisions").height == before


def test_a_damaged_fit_and_one_of_another_version_are_refused(
    call: Any, tmp_path: Path, calendar: TradingCalendar
) -> None:
    root = small_root.build(tmp_path, calendar, sessions=30)
    fits = root.lake.read("models.registry")
    newer = fits["artefact"].str.replace('"format":\\d+', '"format":99')
    changed = {
        "damaged": fits.with_columns(pl.lit('{"model":"ridge"}').alias("artefact")),
        "version": fits.with_columns(
            newer.alias("artefact"),
            newer.map_elements(registry.artefact_hash, pl.String).alias("artefact_hash"),
        ),
    }
    for number, (word, rows) in enumerate(changed.items()):
        now = calendar.known_at(root.days[-1]) + timedelta(hours=5 + number)
        with Run.open(root.lake, root.settings, now=now, run_id=word) as run:
            root.lake.replace("models.registry", rows)
            run.publish(as_of=root.days[-1], source="sample")
        for command in (["evaluate", "ridge"], ["promote", "ridge", *WHO]):
            said = call("models", *command, "--root", root.settings.root)
            assert said.code != 0
            assert word in said.err
            assert "ridge." in said.err  # which fit
    said = call("models", "list", "--root", root.settings.root)
    assert said.code == 0


# --- trainings -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long(
    tmp_path_factory: pytest.TempPathFactory, calendar: TradingCalendar
) -> small_root.SmallRoot:
    """A root with two years and a half of bars, enough to train on."""
    return small_root.build(tmp_path_factory.mktemp("long"), calendar, sessions=620)


TRY = ("--set", "train_sessions=200", "--set", "min_train_sessions=60", "--horizon", "5")


def test_a_training_is_judged_counted_and_kept_apart(
    call: Any, long: small_root.SmallRoot, tmp_path: Path
) -> None:
    where = ("--root", long.settings.root)
    live = {
        t: long.lake.version(t)
        for t in ("models.predictions", "models.registry", "models.evaluation")
    }
    done = call(
        "models",
        "train",
        "ridge",
        *TRY,
        "--set",
        "alpha=3",
        "--features",
        "demo_*",
        *where,
        "--json",
    )
    assert done.code == 0, done.err
    body = done.json
    assert body["summary"]["horizon"] == 5
    assert body["summary"]["dates"] > 250
    assert body["summary"]["trials"] >= 1
    assert body["first"] > "2021"  # nothing is predicted before there is enough to learn from
    assert {t: long.lake.version(t) for t in live} == live
    folder = Path(body["folder"])
    assert folder.parent == long.settings.root / "research" / "models"
    assert (folder / "result.json").is_file()
    tried = long.lake.read("raw.trials").row(0, named=True)
    assert (tried["kind"], tried["name"], tried["horizon"]) == ("model", "ridge", 5)
    assert tried["rank_ic"] == pytest.approx(body["summary"]["mean_rank_ic"])

    again = call(
        "models",
        "train",
        "ridge",
        *TRY,
        "--set",
        "alpha=3",
        "--features",
        "demo_*",
        *where,
        "--json",
    )
    assert again.json["summary"] == body["summary"]
    assert long.lake.read("raw.trials").height == 1  # the same thing is no other trial
    other = call(
        "models", "train", "ridge", *TRY, "--set", "alpha=300", "--universe", "all", *where
    )
    assert other.code == 0, other.err
    assert "inflated by inclusion bias" in other.out
    assert long.lake.read("raw.trials").height == 2

    told = call("models", "evaluate", body["training"], *where, "--json").json
    assert told["ics"][1]["mean"] == pytest.approx(body["summary"]["mean_rank_ic"])
    assert told["decay"]
    assert told["calibration"]
    second = next(p.name for p in folder.parent.iterdir() if p != folder)
    both = call("models", "compare", body["training"], second, *where, "--json").json
    assert both["pairs"][0]["rank_ic"]["dates"] == body["summary"]["dates"]
    refused = call("models", "promote", body["training"], *WHO, *where)
    assert "is a research training and cannot be champion" in refused.err

    own = tmp_path / "mine.yaml"
    own.write_text(
        "name: mine\nfamily: ridge\nhorizon: 5\ntrain_sessions: 200\nmin_train_sessions: 60\n"
    )
    mine = call("models", "train", "--file", own, "--to", "2022-03-31", *where, "--json")
    assert mine.code == 0, mine.err
    assert mine.json["last"] < "2022-03-31"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ridge", "--set", "alhpa=3"], "no parameter 'alhpa' (did you mean alpha?)"),
        (["ridge", "--set", "alpha"], "is not key=value"),
        (["ridge", "--set", "label=rnak"], "label"),
        (["rigde"], "Did you mean ridge"),
        ([], "Give its NAME, or --file"),
        (["--file", "nowhere.yaml"], "there is no file"),
        (["ridge", "--universe", "some"], "members or all"),
        (["ridge", "--features", "nothing_*", *TRY], "no column nothing_*"),
        (["ridge", "--from", "2022-01-03", "--to", "2021-01-04"], "swap them"),
        (["ridge", "--set", "min_train_sessions=2000"], "no year could be predicted"),
        (["ridge", *TRY, "--to", "2020-02-03"], "too little history"),
    ],
)
def test_what_cannot_be_trained_is_said(
    words: list[str], says: str, call: Any, long: small_root.SmallRoot
) -> None:
    said = call("models", "train", *words, "--root", long.settings.root)
    assert said.code != 0
    assert says in said.err, said.err
