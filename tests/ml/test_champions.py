"""Champion and challengers: evidence, hysteresis, people's words, time."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from wealthos_pipeline.core.data import contract
from wealthos_pipeline.core.errors import ConfigError
from wealthos_pipeline.data.processors.calendar import TradingCalendar
from wealthos_pipeline.ml import champions, decisions, policy, serving
from wealthos_pipeline.ml.policy import Policy, Slot
from wealthos_pipeline.utils.config import ModelSettings

H = 5
FIRST, LAST = date(2015, 1, 2), date(2018, 12, 31)
NONE = contract("raw.model_decisions").empty()
EASY = {"horizon": H, "min_dates": 252, "min_t": 3.0, "min_sessions_between_changes": 252}


def skill(
    calendar: TradingCalendar, edges: dict[str, float], *, seed: int = 0, noise: float = 0.05
) -> pl.DataFrame:
    """``models.evaluation``: rank ICs that share what happens to all models, overlap by the label, and differ
    by ``edges`` (mean rank IC of each model)."""
    rng = np.random.default_rng(seed)
    days = calendar.sessions(FIRST, LAST)
    known = [calendar.known_at(calendar.offset(d, H + 1)) for d in days]

    def overlapping() -> np.ndarray:
        steps = rng.standard_normal(len(days) + H - 1)
        return np.convolve(steps, np.ones(H), "valid") / math.sqrt(H)

    common = 0.1 * overlapping()
    table = contract("models.evaluation")
    parts = [
        pl.DataFrame(
            {"model": m, "horizon": H, "date": days, "n": 50, "known_at": known,
             "rank_ic": common + noise * overlapping() + edge}
        ).cast({"horizon": pl.Int32, "n": pl.Int32, "known_at": pl.Datetime("us", "UTC")})
        for m, edge in edges.items()
    ]  # fmt: skip
    return table.conform(pl.concat(parts))


def slots(*candidates: str, **more: object) -> Policy:
    body = EASY | {"candidates": candidates, "initial": candidates[0]} | more
    return Policy(slots={"alpha": Slot.model_validate(body)})


def decide(
    evaluation: pl.DataFrame,
    rules: Policy,
    calendar: TradingCalendar,
    *,
    said: pl.DataFrame = NONE,
    end: date = LAST,
    predicted: pl.DataFrame | None = None,
    **more: object,
) -> pl.DataFrame:
    return champions.decide(
        evaluation,
        said,
        rules,
        calendar,
        predicted=evaluation.select("model", "date") if predicted is None else predicted,
        end=end,
        known_until=more.pop("known_until", calendar.known_at(end)),  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def word(
    calendar: TradingCalendar, action: str, model: str, at: datetime, owner: str = "ann"
) -> pl.DataFrame:
    table = contract("raw.model_decisions")
    row = {
        "decided_at": at, "date": champions.session_of(at, calendar), "action": action, "slot": "alpha",
        "model": model, "owner": owner, "reason": "I know better",
    }  # fmt: skip
    return table.conform(pl.DataFrame([row], schema={k: table.schema()[k] for k in row}))


def test_a_better_challenger_is_promoted_once_the_evidence_is_enough(
    calendar: TradingCalendar,
) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.05})
    made = decide(evaluation, slots("a", "b"), calendar)
    first = made.row(0, named=True)
    assert (first["date"], first["champion"], first["decision"]) == (FIRST, "a", "appointed")
    assert made["date"].to_list() == calendar.firsts(FIRST, LAST, "quarter")
    changed = made.filter(pl.col("decision") == "promoted")
    assert changed["champion"].to_list() == ["b"]
    day = changed["date"][0]
    assert "b was better than a by a mean rank IC of +0.0" in changed["reason"][0]

    # the evidence, recomputed: differences whose outcome was known at that close
    at = calendar.known_at(day)
    known = evaluation.filter(pl.col("known_at") <= at).pivot(
        "model", index="date", values="rank_ic"
    )
    gap = (known["b"] - known["a"]).to_numpy()
    told = json.loads(changed["evidence"][0])[0]
    assert told["dates"] == len(gap) >= 252
    assert told["difference"] == pytest.approx(gap.mean(), abs=1e-12)
    before = made.filter(pl.col("date") < day)["reason"][-1]
    assert "needed" in before
    assert champions.champion_at(made, "alpha", day - timedelta(1)) == "a"
    assert champions.champion_at(made, "alpha", day) == "b"
    assert champions.champion_at(made, "alpha") == "b"
    assert champions.champion_at(made, "beta") is None
    assert champions.faults(made, slots("a", "b"), calendar, LAST) == []


def test_a_lucky_challenger_is_rarely_promoted_and_a_good_one_nearly_always(
    calendar: TradingCalendar,
) -> None:
    """Over 3 years of quarterly looks: at t ≥ 3 at most 1 of 12 equals is promoted (2 of 300 panels of 8 years at
    horizon 20), and a challenger with twice the detectable edge always."""
    rules = slots("a", "b", min_improvement=0.0)

    def promoted(edge: float, seed: int) -> bool:
        made = decide(skill(calendar, {"a": 0.0, "b": edge}, seed=seed), rules, calendar)
        return "promoted" in made["decision"].to_list()

    assert sum(promoted(0.0, seed) for seed in range(12)) <= 1
    assert all(promoted(0.06, seed) for seed in range(4))


def test_more_challengers_have_to_show_more() -> None:
    normal = NormalDist()
    assert champions.required_t(3.0, 1) == 3.0
    assert normal.cdf(-champions.required_t(3.0, 5)) * 5 == pytest.approx(normal.cdf(-3.0))


def test_incremental_equals_full_and_nothing_is_seen_ahead(calendar: TradingCalendar) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.05, "c": 0.1}, seed=3)
    said = pl.concat(
        [
            word(calendar, "rollback", "a", calendar.known_at(date(2017, 5, 9)) - timedelta(hours=9)),
            word(calendar, "promote", "b", calendar.known_at(date(2018, 2, 1)) + timedelta(hours=2)),
        ]
    )  # fmt: skip
    rules = slots("a", "b", "c", min_sessions_between_changes=100)
    full = decide(evaluation, rules, calendar, said=said)
    assert full.filter(pl.col("decided_by") == "ann")["date"].to_list() == [
        date(2017, 5, 9),
        date(2018, 2, 2),
    ]
    assert set(full["champion"]) == {"a", "b", "c"}
    for start in (date(2016, 2, 3), date(2017, 5, 9), date(2017, 5, 10), date(2018, 7, 2)):
        again = decide(evaluation, rules, calendar, said=said, start=start, before=full)
        assert again.equals(full.filter(pl.col("date") >= start)), start
    for end in (date(2016, 7, 1), date(2017, 5, 8), date(2017, 12, 1), date(2018, 2, 1)):
        at = calendar.known_at(end)
        truncated = decide(
            evaluation.filter(pl.col("known_at") <= at),
            rules,
            calendar,
            said=said.filter(pl.col("decided_at") <= at),
            end=end,
            predicted=evaluation.filter(pl.col("date") <= end).select("model", "date"),
        )
        assert truncated.equals(full.filter(pl.col("known_at") <= at)), end


def test_changes_keep_their_distance(calendar: TradingCalendar) -> None:
    """b is better than a, and c, which begins later, than b: without a distance both changes come sooner."""
    evaluation = skill(calendar, {"a": 0.0, "b": 0.1, "c": 0.2}, seed=5, noise=0.02).filter(
        (pl.col("model") != "c") | (pl.col("date") >= date(2016, 1, 4))
    )
    waited: dict[int, list[int]] = {}
    for distance in (0, 400):
        rules = slots("a", "b", "c", review="month", min_sessions_between_changes=distance)
        made = decide(evaluation, rules, calendar)
        changes = made.filter(pl.col("decision").is_in(champions.CHANGES))
        assert changes["champion"].to_list()[-1] == "c"
        slots_ = [calendar.slot(d) for d in changes["date"]]
        waited[distance] = [b - a for a, b in pairwise(slots_)]
    assert len(waited[0]) == 2
    assert all(gap >= 400 for gap in waited[400])
    assert waited[0][0] < 400


def test_a_failed_challenger_leaves_the_champion_as_it_is(calendar: TradingCalendar) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.05})
    alone = decide(evaluation.filter(pl.col("model") == "a"), slots("a"), calendar)
    # c never made a prediction; b has none any more since long before the first review that could promote it
    stopped = pl.col("date") < date(2015, 6, 1)
    left = evaluation.filter((pl.col("model") == "a") | stopped)
    made = decide(left, slots("a", "b", "c"), calendar)
    assert made["champion"].to_list() == alone["champion"].to_list() == ["a"] * made.height
    told = json.loads(made["evidence"][-1])
    assert [e["model"] for e in told] == ["b", "c"]
    assert all("it has no prediction on the day" in e["against"] for e in told)
    assert told[1]["dates"] == 0
    names = ("slot", "date", "champion", "decision", "known_at")
    assert made.select(names).equals(alone.select(names))


def test_a_policy_that_is_not_automatic_recommends(calendar: TradingCalendar) -> None:
    made = decide(
        skill(calendar, {"a": 0.0, "b": 0.06}), slots("a", "b", automatic=False), calendar
    )
    assert set(made["champion"]) == {"a"}
    told = made.filter(pl.col("decision") == "recommended")
    assert told["challenger"].unique().to_list() == ["b"]
    assert "wealthos models promote" in told["reason"][0]


def test_a_policy_can_ask_for_a_sharpe_ratio(calendar: TradingCalendar) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.06})
    days = calendar.sessions(FIRST, LAST)
    rng = np.random.default_rng(2)

    def book(mean: float) -> pl.DataFrame:
        return pl.DataFrame(
            {"model": "b", "horizon": H, "book": "long_short", "date": days,
             "net": 0.01 * rng.standard_normal(len(days)) + mean,
             "known_at": [calendar.known_at(d) for d in days]}
        ).cast({"horizon": pl.Int32})  # fmt: skip

    rules = slots("a", "b", min_psr=0.95)
    poor = decide(evaluation, rules, calendar, returns=book(-0.001))
    assert set(poor["champion"]) == {"a"}
    assert "probabilistic Sharpe ratio" in poor["reason"][-1]
    assert "promoted" in decide(evaluation, rules, calendar, returns=book(0.002))["decision"]
    unknown = decide(evaluation, rules, calendar)
    assert "probabilistic Sharpe ratio not known" in unknown["reason"][-1]


def test_a_rollback_holds_against_the_policy_until_a_person_promotes(
    calendar: TradingCalendar,
) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.06})
    rules = slots("a", "b", min_sessions_between_changes=0)
    back = word(calendar, "rollback", "a", calendar.known_at(date(2017, 3, 1)))
    made = decide(evaluation, rules, calendar, said=back)
    assert champions.champion_at(made, "alpha", date(2017, 2, 28)) == "b"
    row = made.filter(pl.col("date") == date(2017, 3, 1)).row(0, named=True)
    assert (row["decision"], row["decided_by"], row["champion"]) == ("rolled_back", "ann", "a")
    assert row["reason"] == "ann: I know better"
    assert champions.champion_at(made, "alpha", LAST) == "a"
    assert "a person rolled it back" in made["reason"][-1]
    again = word(calendar, "promote", "b", calendar.known_at(date(2018, 3, 1)), "bob")
    both = decide(evaluation, rules, calendar, said=pl.concat([back, again]))
    assert champions.champion_at(both, "alpha", LAST) == "b"


def test_a_word_after_the_last_session_counts_for_the_live_champion_only(
    calendar: TradingCalendar,
) -> None:
    evaluation = skill(calendar, {"a": 0.0, "b": 0.0})
    late = calendar.known_at(LAST) + timedelta(hours=3)
    said = word(calendar, "promote", "b", late)
    rules = slots("a", "b")
    assert decide(evaluation, rules, calendar, said=said)["decided_by"].unique().to_list() == [
        "policy"
    ]
    made = decide(evaluation, rules, calendar, said=said, known_until=late)
    assert made["date"][-1] > LAST
    assert champions.champion_at(made, "alpha", LAST) == "a"
    assert champions.champion_at(made, "alpha") == "b"


# --- what `model: champion` stands for -----------------------------------------------------------


def spoken(rows: list[tuple[str, str, date, float]]) -> pl.DataFrame:
    table = contract("models.predictions")
    body = [
        {"model": m, "kind": k, "date": d, "instrument_id": "x", "horizon": H, "prediction": v, "z": v,
         "train_cutoff": d, "model_id": f"{m}.{k}"}
        for m, k, d, v in rows
    ]  # fmt: skip
    return table.conform(pl.DataFrame(body, schema=table.schema()))


def line(*rows: tuple[date, str]) -> pl.DataFrame:
    table = contract("models.champions")
    body = [
        {"slot": "alpha", "date": d, "champion": c, "decision": "promoted", "decided_by": "policy", "reason": "r",
         "evidence": "[]", "policy_hash": "0", "known_at": datetime(2020, 1, 1, tzinfo=UTC)}
        for d, c in rows
    ]  # fmt: skip
    return table.conform(pl.DataFrame(body, schema=table.schema()))


def test_the_champion_of_each_date_speaks_for_the_slot() -> None:
    d = [date(2015, 1, n) for n in range(5, 10)]
    said = spoken(
        [("a", "walk_forward", day, 1.0) for day in d]
        + [("b", "walk_forward", day, 2.0) for day in d[:4]]  # b fails on the last day
        + [("a", "live", d[4], 10.0), ("b", "live", d[4], 20.0)]
    )
    evaluation = pl.concat(
        [
            contract("models.evaluation").conform(
                pl.DataFrame({"model": m, "horizon": H, "date": d, "n": 9, "rank_ic": v, "known_at": [datetime(2016, 1, 1, tzinfo=UTC)] * 5})
                .cast({"horizon": pl.Int32, "n": pl.Int32})
            )
            for m, v in (("a", 0.1), ("b", 0.2))
        ]
    )  # fmt: skip
    who = line((d[1], "a"), (d[2], "b"))
    predictions, judged = serving.with_champion(said, evaluation, who, ["ridge", "champion"])
    mine = predictions.filter(pl.col("model") == "champion")
    walked = mine.filter(pl.col("kind") == "walk_forward").sort("date")
    assert walked["date"].to_list() == d[1:]  # nothing before the first champion
    assert walked["z"].to_list() == [1.0, 2.0, 2.0, 1.0]  # a stands in where b failed
    assert mine.filter(pl.col("kind") == "live")["z"].to_list() == [20.0]
    assert predictions.head(said.height).equals(said)
    then = judged.filter(pl.col("model") == "champion").sort("date")
    assert then["rank_ic"].to_list() == [0.1, 0.2, 0.2, 0.2]
    assert serving.with_champion(said, evaluation, who, ["ridge"])[0] is said

    lost = said.filter((pl.col("model") == "a") | (pl.col("kind") != "live"))
    told = serving.unserved(lost, who, ["alpha", "beta"], d[4])
    assert told == [
        "alpha: b has no live prediction on 2015-01-09; a serves",
        "beta: no review has been, so there is no champion yet",
    ]
    assert serving.unserved(said, who, ["alpha"], d[4]) == []


# --- the file, and what people decide --------------------------------------------------------------


def policy_of(folder: Path, text: str) -> Policy:
    path = folder / "promotion.yaml"
    path.write_text(text, "utf-8")
    settings = ModelSettings(names=("ridge", "lightgbm"), promotion=path)
    return policy.load(settings, ["lightgbm", "ols", "ridge"])


def test_a_policy_is_completed_by_the_settings(tmp_path: Path) -> None:
    made = policy_of(tmp_path, "slots:\n  alpha:\n  second: {initial: lightgbm, min_t: 2}\n")
    assert made.slots["alpha"].candidates == ("ridge", "lightgbm")
    assert made.slots["alpha"].initial == "ridge"
    assert made.slots["second"].initial == "lightgbm"
    assert made.slots["second"].horizon == ModelSettings().horizon
    assert made.slots["alpha"].hash != made.slots["second"].hash
    shipped = policy.load(ModelSettings(), ["ridge", "lightgbm"])
    assert shipped.slots["alpha"] == made.slots["alpha"]
    assert policy.slot_of("champion") == "alpha"
    assert policy.slot_of("champion:second") == "second"
    assert policy.slot_of("ridge") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slots: {alpha: {min_tt: 2, min_t: 0}}", ["unknown key 'slots.alpha.min_tt'", "known: automatic", "slots.alpha.min_t"]),
        ("slots: {alpha: {candidates: [ridge, tree], initial: ols}}", ["no model is called tree", "'ols' is none of the candidates"]),
        ("slots: {alpha: {candidates: [ridge, ridge]}, Big: {}}", ["ridge is there twice", "slots.Big"]),
        ("slots: {}", ["slots is empty"]),
        ("[1, 2]", ["holds a list"]),
        ("slots: {alpha: [", ["not readable as YAML"]),
        ("slot: {}", ["unknown key 'slot'"]),
    ],
)  # fmt: skip
def test_every_fault_of_a_policy_is_told(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(tmp_path, text)
    for words in (*says, "promotion.yaml"):
        assert words in str(caught.value)


def test_a_policy_that_is_named_must_be_there(tmp_path: Path) -> None:
    settings = ModelSettings(promotion=tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="there is no file"):
        policy.load(settings, ["ridge"])


def test_pins_stand_until_they_are_taken_back(calendar: TradingCalendar) -> None:
    from wealthos_pipeline.ml import registry
    from wealthos_pipeline.ml.predictors.ridge import FittedRidge

    text = FittedRidge(("f",), (0.5,)).to_text()
    digest = registry.artefact_hash(text)
    body = {
        "model_id": "ridge.live.2020-01-02.x", "model": "ridge", "kind": "live", "refit_date": FIRST,
        "horizon": H, "train_start": FIRST, "train_cutoff": LAST, "rows": 10, "features": '["f"]',
        "params": "{}", "artefact": text, "artefact_hash": digest,
    }  # fmt: skip
    fit = registry.frame([body]).row(0, named=True)
    now = calendar.known_at(LAST)
    who = {"owner": "ann", "reason": "the new one is wild", "calendar": calendar}
    pinned = decisions.pin(fit, now=now, **who)  # type: ignore[arg-type]
    later = now + timedelta(minutes=1)
    taken = decisions.unpin(pinned, "ridge", now=later, **who)  # type: ignore[arg-type]
    said = pl.concat([pinned, taken])
    assert decisions.pins(said, now - timedelta(seconds=1)) == {}
    assert decisions.pins(said, now) == {"ridge": fit}
    assert decisions.pins(said, later) == {}
    with pytest.raises(ConfigError, match="no fit of ridge is pinned; pinned: none"):
        decisions.unpin(said, "ridge", now=later, **who)  # type: ignore[arg-type]
