"""Every rule of cleaning by name: what it does, to which rows, and what tunes it.

A rule *rejects* a row (``clean.quarantine``), *repairs* a value (``clean.adjustments``) or *flags* a
bar (``clean.prices.flags``). ``settings.cleaning.off`` switches one off; those that carry a
``needed`` cannot be, because the table would not be one without them. A person may release a row
that a rule rejected (``raw.releases``), save where ``final`` says why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from wealthos_pipeline.utils.config import CleaningSettings

Kind = Literal["reject", "repair", "flag"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    what: which rows it meets and what becomes of them, in words.
    settings: fields of ``settings.cleaning`` that tune it.
    needed: why it cannot be switched off; "" if it can.
    final: why a row that it rejected cannot be released; "" if it can.
    """

    name: str
    kind: Kind
    title: str
    what: str
    settings: tuple[str, ...] = ()
    needed: str = ""
    final: str = ""


_CHAIN = "the chain of returns cannot be computed with such a row"
_TIME = "a row from outside of its time would let the past know the future"
_READ = "it is decided when the file is read, and the row is not stored"
_LOG = "it only says what happened"

_ALL = (
    # rows that could not be stored
    Rule(
        "duplicate_key", "reject", "Two values for one key",
        "two rows of one file give different values for the same symbol and date; none is used, "
        "because nothing tells which is right",
        needed=_READ, final=_READ,
    ),
    Rule(
        "unreadable_row", "reject", "No date or symbol", "a row without a date or a symbol",
        needed=_READ, final=_READ,
    ),
    Rule(
        "incomplete_bar", "reject", "Session still open",
        "the session of the row had not closed (plus lag) when the file was read",
        needed=_READ, final=_READ,
    ),
    Rule(
        "conflicting_files", "reject", "Two files disagree",
        "two files give different values for the same date; the later file is used",
        needed=_READ, final=_READ,
    ),
    # rows of prices and series
    Rule(
        "other_source", "reject", "Another source gives this instrument",
        "another source gives the bars of this instrument",
        needed="an instrument has one bar a session", final="an instrument has one bar a session",
    ),
    Rule(
        "renamed_symbol_overlap", "reject", "Old and new symbol on one day",
        "two symbols of one instrument have a bar on this date; that of the symbol which it had then is "
        "used",
        needed="an instrument has one bar a session", final="an instrument has one bar a session",
    ),
    Rule(
        "overlapping_membership", "reject", "Two intervals on one day",
        "two intervals of one universe and symbol hold on the same day; the one that began first is used",
        needed="a name is a member once", final="correct the source's intervals instead",
    ),
    Rule(
        "inverted_membership", "reject", "End before start",
        "an interval of membership ends before it begins",
        needed="such an interval holds on no day", final="correct the source's intervals instead",
    ),
    Rule(
        "unknown_instrument", "reject", "No such instrument",
        "no instrument has this symbol on this date",
        needed="a bar belongs to an instrument",
        final="say whose bar it is in data/inputs/instruments.csv instead",
    ),
    Rule(
        "after_delisting", "reject", "After the last session",
        "data/inputs/delistings.csv says that the last session of the instrument was before",
        needed="what a person stated counts",
        final="correct data/inputs/delistings.csv instead",
    ),
    Rule(
        "not_a_session", "reject", "No session",
        "the exchange held no session on this date",
        needed="a bar lies in a slot of the exchange's calendar",
        final="a bar lies in a slot of the exchange's calendar",
    ),
    Rule(
        "future_date", "reject", "From the future",
        "the row was given before its session closed, or lies after the run",
        needed=_TIME, final=_TIME,
    ),
    Rule(
        "no_close", "reject", "No close", "the row has values but no close",
        needed=_CHAIN, final=_CHAIN,
    ),
    Rule(
        "not_finite", "reject", "Infinite price", "the close or adjusted close is infinite",
        needed=_CHAIN, final=_CHAIN,
    ),
    Rule(
        "non_positive_price", "reject", "Zero or negative price",
        "the close or adjusted close is zero or negative",
        needed=_CHAIN, final=_CHAIN,
    ),
    Rule(
        "bad_split", "reject", "Impossible split",
        "the split ratio is zero, negative or infinite",
        needed=_CHAIN, final=_CHAIN,
    ),
    Rule(
        "bad_dividend", "reject", "Impossible dividend",
        "the dividend is negative or infinite, or not below the close (where the vendor lists splits, that "
        "is judged on the ex-day instead)",
        needed=_CHAIN, final=_CHAIN,
    ),
    Rule(
        "bad_value", "reject", "Infinite value", "the value of a series is infinite",
        needed="a curve or rate cannot be infinite", final="a curve or rate cannot be infinite",
    ),
    Rule(
        "spike", "reject", "Spike taken back by the next bar",
        "the close grew by more than spike_growth (or fell by as much) and the next bar came back "
        "to within spike_return of the bar before it, without a split in between. The bar is "
        "believed, with the flag EXTREME and the flag SPIKE_DOUBT, until the bar after it is known, and "
        "is no price to trade at; then it is rejected",
        settings=("spike_growth", "spike_return"),
    ),
    # values that are taken away or put in
    Rule(
        "crossed", "repair", "Open, high, low and close contradict each other",
        "the close or open lies outside of low and high (by more than half a percent), or one of "
        "them is not positive: open, high and low become null, the close stays (flag CROSSED)",
    ),
    Rule(
        "bad_volume", "repair", "Impossible volume",
        "the volume is negative or infinite and becomes null (flag BAD_VOLUME)",
        needed="sums of volume would be infinite",
    ),
    Rule(
        "terminal_return", "repair", "Return of a delisting",
        "data/inputs/delistings.csv states what holders got: one bar of that return after the last "
        "one (flag TERMINAL)",
    ),
    Rule(
        "released", "repair", "Released by a person",
        "a row that a rule rejected is used, because somebody who answers for it said so",
        needed=_LOG,
    ),
    # units, events and currencies
    Rule(
        "quoted_in_cents", "repair", "Quoted in hundredths",
        "the vendor quotes pence, cents or agorot (GBp, GBX, ZAc, ILA): prices and dividends are divided "
        "by 100 and carry the code of the whole currency; counted, not logged bar by bar",
        needed="prices of a hundred times the money would be added to others",
    ),
    Rule(
        "converted", "repair", "Another currency",
        "the bar trades in another currency than source.currency and is converted at the last rate that "
        "was known with it; local_currency and fx_rate are kept; counted, not logged bar by bar",
        settings=("fx_stale_sessions",),
        needed="amounts of different currencies cannot be added",
    ),
    Rule(
        "no_fx", "reject", "No exchange rate",
        "the bar trades in another currency, and no rate of at most fx_stale_sessions sessions before it "
        "was known with it (the pair, its inverse, or both against the dollar)",
        settings=("fx_stale_sessions",),
        needed="amounts of different currencies cannot be added",
        final="give the source rates instead (source.fx)",
    ),
    Rule(
        "unit_switch", "repair", "Bar in another unit",
        "the bar is a hundred times the bar before, or a hundredth of it (within a quarter, in logs), of "
        "a listing quoted in hundredths or a vendor with events: it is brought back to the unit of the "
        "bars before, and so are those after it until they come back themselves (flag UNIT_SWITCH). A fall "
        "in which ten times the usual shares changed hands is believed; so is one of a listing that is not "
        "quoted in hundredths, once four more bars have stayed there",
    ),
    Rule(
        "bad_dividend_unit", "repair", "Dividend in another unit",
        "the dividend is a hundred times too large or small, as adjusted closes, the price on the ex-day "
        "and the unit of quotation show; it is scaled (flag DIVIDEND_REPAIRED)",
    ),
    Rule(
        "phantom_dividend", "repair", "Dividend that was not paid",
        "neither the price on the ex-day nor a slip of the unit explains the dividend; it is dropped "
        "(flag DIVIDEND_REPAIRED)",
    ),
    Rule(
        "misdated_dividend", "repair", "Dividend listed on the wrong day",
        "the price did not fall for a large dividend on its day, but fell by it on one of the four bars "
        "before or after, which list none: it is paid on the listed day if the fall was before, else on "
        "the day of the fall (flag DIVIDEND_REPAIRED)",
    ),
    Rule(
        "duplicated_dividend", "repair", "Dividend listed twice",
        "the same amount went ex at most four sessions before, and the price did not fall again; the "
        "second one is dropped (flag DIVIDEND_REPAIRED)",
    ),
    Rule(
        "split_not_in_prices", "repair", "Split that prices do not show",
        "the vendor lists a split, and the traded closes and the return leave another one, or none; the "
        "one that they leave is used (flag SPLIT_DOUBT)",
        needed="the list alone would make a return of it",
    ),
    Rule(
        "split_without_event", "repair", "Split that is not listed",
        "the vendor rescaled older prices without a split in its list: the split that this leaves is "
        "used. Or the price moved by a plain ratio and older prices were not rescaled: it is believed and "
        "marked only (flag SPLIT_DOUBT)",
    ),
    Rule(
        "adjusted_close_differs", "flag", "Adjusted closes contradict the events",
        "the ratio of the vendor's adjusted closes is not the return that its dividends and splits make; "
        "the events count (flag ADJ_MISMATCH)",
    ),
    # bars that are kept and marked
    Rule(
        "extreme", "flag", "Large one-bar return",
        "growth of one bar above 1.5 or spike_growth, whichever is less, or below its inverse "
        "(flag EXTREME)",
        settings=("spike_growth",),
    ),
    Rule(
        "gap", "flag", "Sessions without a bar before this one",
        "the bar before is not of the session before (flag GAP; flag LONG_GAP after more than 63 "
        "sessions, where the return is that of the closes)",
        needed=_LOG,
    ),
    Rule(
        "stale", "flag", "Price does not move",
        "the close has not changed for stale_sessions bars and nothing was traded in them, or open, "
        "high, low and close have been identical for as many bars; where the volume of one of them is "
        "unknown, for twice as many (flag STALE)",
        settings=("stale_sessions",),
    ),
    Rule(
        "zero_volume", "flag", "Nothing traded", "the volume is zero (flag ZERO_VOLUME)"
    ),
    Rule(
        "volume_spike", "flag", "Unusual volume",
        "more than volume_spike times the median volume of the 20 bars before (flag VOLUME_SPIKE)",
        settings=("volume_spike",),
    ),
    Rule(
        "restated", "flag", "Corrected by the vendor",
        "the vendor corrected the bar or its return after the fact (flag RESTATED)",
        needed=_LOG,
    ),
)  # fmt: skip

RULES: Mapping[str, Rule] = {rule.name: rule for rule in _ALL}
"""Name → rule, in the order in which they are documented."""


def rule(name: str) -> Rule:
    """The rule called ``name``; ConfigError lists those that exist."""
    found = RULES.get(name)
    if found is None:
        raise ConfigError(f"no cleaning rule {name!r}; there are: {', '.join(RULES)}")
    return found


def switched_off(cleaning: CleaningSettings) -> frozenset[str]:
    """The rules that ``cleaning.off`` names.

    ConfigError lists every fault: names that no rule has, rules that cannot be switched off.
    """
    unknown = [name for name in cleaning.off if name not in RULES]
    needed = [name for name in cleaning.off if name in RULES and RULES[name].needed]
    faults = [f"no rule is called {name!r}" for name in unknown]
    faults += [f"{name!r} cannot be switched off: {RULES[name].needed}" for name in needed]
    if faults:
        free = ", ".join(name for name, rule in RULES.items() if not rule.needed)
        raise ConfigError(
            "cleaning.off cannot be used:\n"
            + "\n".join(f"  - {fault}" for fault in faults)
            + f"\nRules that can be switched off: {free}"
        )
    return frozenset(cleaning.off)


def releasable(name: str) -> Rule:
    """The rule called ``name``, if a row that it rejected can be released; ConfigError if not."""
    found = rule(name)
    if found.kind != "reject":
        raise ConfigError(f"rule {name!r} rejects no rows: {found.what}")
    if found.final:
        free = ", ".join(_released())
        raise ConfigError(
            f"rows that {name!r} rejected cannot be released: {found.final}. Rules whose rows can "
            f"be: {free}"
        )
    return found


def _released() -> Iterable[str]:
    return (r.name for r in RULES.values() if r.kind == "reject" and not r.final)
