"""Sales taken out of lots, in exact integers: what is left, and what was gained lot by lot.

Money is int64 in 1/10,000 of the currency. Units are whole numbers too, of shares or of any fixed part
of a share. Nothing is lost to rounding: the cost of the part of a lot that is sold is rounded half to
even and the rest stays with the lot; the proceeds are split so that they sum to what was received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction

from wealthos_pipeline.core.errors import PortfolioError
from wealthos_pipeline.core.mandate import Tax

INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CostLot:
    """One purchase that is still held: its units, what they cost in all (1/10,000), and since when."""

    instrument_id: str
    lot: str
    units: int
    cost: int
    acquired: date


@dataclass(frozen=True, slots=True)
class Disposal:
    """A sale of ``units`` for ``proceeds`` (1/10,000, after commission). chosen: lots by id, for the policy
    ``specific``, the first one first; empty: those that cost least in tax."""

    instrument_id: str
    units: int
    proceeds: int
    day: date
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RealisedLot:
    """What one sale took out of one lot. gain = proceeds − cost; tax: its rate times that, half to even,
    negative for a loss. Money in 1/10,000; days: calendar days held."""

    instrument_id: str
    lot: str
    sold: date
    units: int
    proceeds: int
    cost: int
    gain: int
    days: int
    long: bool
    tax: int


def after_sale(
    lots: Sequence[CostLot], sales: Sequence[Disposal], policy: Tax
) -> tuple[tuple[CostLot, ...], tuple[RealisedLot, ...]]:
    """Lots that remain, in their given order, and what each sale realised, in the order of sale.

    FIFO goes by date, highest cost first by cost a unit, ``specific`` by ``Disposal.chosen`` or else by the
    tax a unit at the price of this sale; ties by the lot's id. A sale takes no lot that was bought after its
    day; a name's sales must come oldest first. PortfolioError lists what cannot be: more sold than held, a lot that is not there, numbers beyond
    int64. Nothing is then taken from any lot.
    """
    faults = [f for lot in lots for f in _lot_faults(lot)]
    keys = [(lot.instrument_id, lot.lot) for lot in lots]
    faults += [
        f"{a} lot {b} is given twice" for a, b in sorted({k for k in keys if keys.count(k) > 1})
    ]
    if faults:
        raise PortfolioError("the lots cannot be used: " + "; ".join(faults))
    left = dict(zip(keys, lots, strict=True))
    out: list[RealisedLot] = []
    for sale in sales:
        said = f"sale of {sale.units} {sale.instrument_id} on {sale.day}"
        mine = [lot for lot in left.values() if lot.instrument_id == sale.instrument_id]
        mine = [lot for lot in mine if lot.acquired <= sale.day]
        faults += [f"{said}: {f}" for f in _sale_faults(sale, mine, policy)]
        if faults:
            continue
        taken, pieces = 0, []
        for lot in _ordered(mine, sale, policy):
            units = min(lot.units, sale.units - taken)
            if not units:
                break
            piece = _realised(lot, units, taken, sale, policy)
            pieces.append(piece)
            taken += units
            key = (lot.instrument_id, lot.lot)
            if units == lot.units:
                del left[key]
            else:
                left[key] = replace(lot, units=lot.units - units, cost=lot.cost - piece.cost)
        out += pieces
    if faults:
        raise PortfolioError("the sales cannot be taken out of the lots: " + "; ".join(faults))
    return tuple(left.values()), tuple(out)


def _ordered(lots: Sequence[CostLot], sale: Disposal, policy: Tax) -> list[CostLot]:
    if policy.method == "fifo":
        return sorted(lots, key=lambda lot: (lot.acquired, lot.lot))
    if policy.method == "hifo":
        return sorted(lots, key=lambda lot: (-Fraction(lot.cost, lot.units), lot.lot))
    if sale.chosen:
        by_id = {lot.lot: lot for lot in lots}
        return [by_id[name] for name in sale.chosen]
    price = Fraction(sale.proceeds, sale.units)
    return sorted(
        lots,
        key=lambda lot: (
            _rate(policy, (sale.day - lot.acquired).days) * (price - Fraction(lot.cost, lot.units)),
            lot.lot,
        ),
    )


def _realised(lot: CostLot, units: int, before: int, sale: Disposal, policy: Tax) -> RealisedLot:
    """``units`` of the lot, sold after ``before`` units of the same sale."""
    cost = round(Fraction(lot.cost * units, lot.units))
    upto = [round(Fraction(sale.proceeds * k, sale.units)) for k in (before, before + units)]
    proceeds = upto[1] - upto[0]
    days = (sale.day - lot.acquired).days
    gain = proceeds - cost
    return RealisedLot(
        instrument_id=lot.instrument_id,
        lot=lot.lot,
        sold=sale.day,
        units=units,
        proceeds=proceeds,
        cost=cost,
        gain=gain,
        days=days,
        long=days > policy.long_days,
        tax=round(_rate(policy, days) * gain),
    )


def _rate(policy: Tax, days: int) -> Fraction:
    """The rate as it was written: 0.37 is 37/100."""
    return Fraction(repr(policy.long_rate if days > policy.long_days else policy.short_rate))


def _lot_faults(lot: CostLot) -> list[str]:
    named = f"{lot.instrument_id} lot {lot.lot}"
    faults = []
    if not 0 < lot.units <= INT64:
        faults.append(f"{named}: {lot.units} units, expected a whole number above 0")
    if not 0 <= lot.cost <= INT64:
        faults.append(f"{named}: a cost of {lot.cost}, expected 0 or more, in int64")
    return faults


def _sale_faults(sale: Disposal, lots: Sequence[CostLot], policy: Tax) -> list[str]:
    faults = []
    if not 0 < sale.units <= INT64:
        return [f"{sale.units} units, expected a whole number above 0"]
    if not 0 <= sale.proceeds <= INT64:
        faults.append(f"proceeds of {sale.proceeds}, expected 0 or more, in int64")
    if sale.chosen and policy.method != "specific":
        faults.append(f"it names its lots, and the policy is {policy.method}")
    there = {lot.lot for lot in lots}
    unknown = [name for name in sale.chosen if name not in there]
    if unknown:
        faults.append(
            f"no lot {', '.join(unknown)}; there are {', '.join(sorted(there)) or 'none'}"
        )
    if len(set(sale.chosen)) < len(sale.chosen):
        faults.append("a lot is named twice")
    can = [lot for lot in lots if not sale.chosen or lot.lot in sale.chosen]
    have = sum(lot.units for lot in can)
    if have < sale.units:
        faults.append(f"only {have} units are held then")
    return faults
