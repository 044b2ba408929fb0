"""The log of a fetch in words."""

from __future__ import annotations

from wealthos_pipeline.data.sources.failures import Log


def test_what_was_not_asked_for_one_reason_is_added_up() -> None:
    log = Log()
    why = "not asked: 5 requests in a row failed with: HTTP 500"
    log.add("AAA", "HTTP 500", "prices")
    for count in ("2 of 10", "1 of 1", "10 of 10"):
        log.add("*", f"{count} {why}", "prices")
    log.add("*", "3 of 9 not asked: the day is used up", "news")
    assert log.words() == f"13 of 21 {why}; 3 of 9 not asked: the day is used up"


def test_few_reasons_are_named_and_the_rest_counted() -> None:
    log = Log()
    for i in range(5):
        log.add(f"S{i}", f"reason {i}", "prices")
    assert log.words() == "reason 0; reason 1; reason 2; and 2 more reasons"
