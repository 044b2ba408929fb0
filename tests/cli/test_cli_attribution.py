"""``wealthos portfolio attribution``: any period, any linking, in lines that add up."""

from __future__ import annotations

import math

import pytest
from small_root import SmallRoot


@pytest.mark.parametrize("link", ["carino", "menchero"])
def test_the_lines_add_up_to_the_return_of_the_period(wealthos, root: SmallRoot, link: str) -> None:
    sessions = len(root.days) - 1
    body = wealthos(
        "portfolio", "attribution", "balanced", "--absolute", "--link", link, "--json"
    ).json
    assert body["sessions"] == sessions
    assert body["benchmark"] is None
    total = math.fsum(e["value"] for e in body["effects"])
    assert total == pytest.approx(1.001**sessions - 1, abs=1e-14)
    assert body["totals"][0]["active"] == pytest.approx(total, abs=1e-14)
    against = wealthos("portfolio", "attribution", "balanced", "--link", link, "--json").json
    assert against["benchmark"] == "equal_weight"
    assert math.fsum(e["value"] for e in against["effects"]) == pytest.approx(0.0, abs=1e-15)


def test_the_table_ends_with_the_residual_and_both_sums(wealthos) -> None:
    said = wealthos("portfolio", "attribution", "Balanced")
    lines = [x for x in said.out.splitlines() if x.strip()]
    assert lines[1].split() == ["sector", "allocation", "selection", "points"]
    energy = next(x for x in lines if x.startswith("Energy"))
    allocation, selection, together = (float(x.replace("−", "-")) for x in energy.split()[1:])
    assert allocation + selection == pytest.approx(together, abs=2e-3)
    assert lines[-3].split() == ["residual", "0"]
    assert lines[-2].startswith("sum of the lines")
    assert lines[-1].startswith("active return of the NAVs")
    assert "costs: spread" in said.out
    assert "differ by" in said.err


def test_a_period_is_cut_to_its_days_and_parts(wealthos, root: SmallRoot) -> None:
    first, last = root.days[1], root.days[3]
    body = wealthos(
        "portfolio", "attribution", "balanced", "--from", first, "--to", last, "--each", "month",
        "--absolute", "--json",
    ).json  # fmt: skip
    assert (body["from"], body["to"], body["sessions"]) == (str(first), str(last), 3)
    assert {e["period"] for e in body["effects"]} == {t["period"] for t in body["totals"]}
    text = wealthos("portfolio", "attribution", "balanced", "--each", "quarter").out
    assert f"{root.days[1].year} Q" in text


def test_what_is_not_there_is_answered_with_what_is(wealthos) -> None:
    said = wealthos("portfolio", "attribution", "balnced")
    assert said.code
    assert "Did you mean balanced" in said.err
    late = wealthos("portfolio", "attribution", "balanced", "--from", "2090-01-01")
    assert late.code
    assert "widen --from" in late.err
    none = wealthos("portfolio", "attribution", "balanced", "--by", "factor")
    assert none.code
    assert "attributed by factor" in none.err
