"""What a table holds, as numbers: hashes of rows that do not depend on how files are cut.

Every row is hashed to two 64-bit words; the hash of a set of rows is their sum modulo 2^64 together
with the count. It is therefore independent of order and of file layout, and it can be kept up to
date without reading what is already stored: appending adds, splitting by year just groups the sum.
A null cell contributes nothing, so a new nullable column changes no hash until it holds a value.
NaN has one canonical pattern; −0.0 and 0.0 differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from wealthos_pipeline.core.data import TableContract

Words = npt.NDArray[np.uint64]

_EPOCH = np.datetime64("1970-01-01", "D")
_BLOCK = 1 << 15
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SECOND = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_NAN32, _NAN64 = np.uint32(0x7FC00000), np.uint64(0x7FF8000000000000)


@dataclass(frozen=True, slots=True)
class Digest:
    """Rows as a count and a 128-bit sum. Digests of disjoint sets of rows add up."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(
            self.rows + other.rows,
            (self.first + other.first) % 2**64,
            (self.second + other.second) % 2**64,
        )

    def __sub__(self, other: Digest) -> Digest:
        return Digest(
            self.rows - other.rows,
            (self.first - other.first) % 2**64,
            (self.second - other.second) % 2**64,
        )

    @property
    def text(self) -> str:
        """``rows:32 hex digits``, as it is kept in the commit's metadata."""
        return f"{self.rows}:{self.first:016x}{self.second:016x}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The inverse of ``text``."""
        rows, words = text.split(":")
        return cls(int(rows), int(words[:16], 16), int(words[16:], 16))

    @property
    def hash(self) -> str:
        """32 hex digits."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Dated:
    """One digest a date, dates ascending."""

    dates: npt.NDArray[np.datetime64]
    rows: npt.NDArray[np.int64]
    first: Words
    second: Words

    def years(self) -> dict[str, Digest]:
        """The digests summed by calendar year, under the year as text."""
        if not len(self.dates):
            return {}
        year = self.dates.astype("datetime64[Y]").astype(np.int64) + 1970
        cuts = np.flatnonzero(np.diff(year, prepend=year[0] - 1))
        rows = np.add.reduceat(self.rows, cuts)
        first, second = np.add.reduceat(self.first, cuts), np.add.reduceat(self.second, cuts)
        return {
            str(year[cut]): Digest(int(rows[i]), int(first[i]), int(second[i]))
            for i, cut in enumerate(cuts)
        }

    def total(self) -> Digest:
        """The sum over all dates."""
        return sum(self.years().values(), Digest())

    def within(self, start: date | None, end: date | None) -> Dated:
        """The dates in [start, end]."""
        lo = 0 if start is None else int(np.searchsorted(self.dates, np.datetime64(start), "left"))
        hi = (
            len(self.dates)
            if end is None
            else int(np.searchsorted(self.dates, np.datetime64(end), "right"))
        )
        return Dated(self.dates[lo:hi], self.rows[lo:hi], self.first[lo:hi], self.second[lo:hi])

    def changed(self, other: Dated) -> list[date]:
        """Dates, ascending, whose rows differ between the two."""
        mine, theirs = self._by_date(), other._by_date()
        days = sorted(d for d in mine.keys() | theirs.keys() if mine.get(d) != theirs.get(d))
        return [(_EPOCH + np.timedelta64(d, "D")).item() for d in days]

    def _by_date(self) -> dict[int, tuple[int, int, int]]:
        days = (self.dates - _EPOCH).astype(np.int64).tolist()
        return dict(
            zip(
                days,
                zip(self.rows.tolist(), self.first.tolist(), self.second.tolist(), strict=True),
                strict=True,
            )
        )


def digest(frame: pl.DataFrame, contract: TableContract) -> Digest:
    """The digest of all rows of ``frame``."""
    first, second = _row_words(frame, contract)
    return Digest(frame.height, int(np.add.reduce(first)), int(np.add.reduce(second)))


def digest_by_date(frame: pl.DataFrame, contract: TableContract) -> Dated:
    """One digest for each value of the contract's date column."""
    assert contract.date_column is not None
    first, second = _row_words(frame, contract)
    dates = frame[contract.date_column].to_numpy().astype("datetime64[D]")
    if len(dates) and (np.diff(dates) < np.timedelta64(0, "D")).any():
        order = np.argsort(dates, kind="stable")
        dates, first, second = dates[order], first[order], second[order]
    cuts = np.flatnonzero(np.diff(dates, prepend=_EPOCH) != np.timedelta64(0, "D"))
    if len(dates) and (not len(cuts) or cuts[0] != 0):
        cuts = np.concatenate([[0], cuts])
    if not len(dates):
        empty = np.zeros(0, np.uint64)
        return Dated(dates, np.zeros(0, np.int64), empty, empty)
    rows = np.diff(np.append(cuts, len(dates))).astype(np.int64)
    return Dated(dates[cuts], rows, np.add.reduceat(first, cuts), np.add.reduceat(second, cuts))


def digests(frame: pl.DataFrame, contract: TableContract) -> dict[str, Digest]:
    """By calendar year, or under ``""`` for a table without a date column; none for no rows."""
    if contract.date_column is not None:
        return digest_by_date(frame, contract).years()
    return {"": digest(frame, contract)} if frame.height else {}


def total(digests: Mapping[str, Digest]) -> Digest:
    """The sum of all."""
    return sum(digests.values(), Digest())


def add(left: Mapping[str, Digest], right: Mapping[str, Digest]) -> dict[str, Digest]:
    """Sum by key; keys without rows are dropped."""
    keys: Iterable[str] = sorted(left.keys() | right.keys())
    out = {k: left.get(k, Digest()) + right.get(k, Digest()) for k in keys}
    return {k: d for k, d in out.items() if d.rows}


def _row_words(frame: pl.DataFrame, contract: TableContract) -> tuple[Words, Words]:
    """Two words a row. Blocks of rows keep the temporaries in the processor's cache."""
    n = frame.height
    cells = [
        (_salt(c.name, c.dtype), *_words(frame[c.name], c.dtype))
        for c in contract.columns
        if frame[c.name].null_count() < n
    ]
    first, second = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    a, b = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
    with np.errstate(over="ignore"):
        for lo in range(0, n, _BLOCK):
            hi = min(lo + _BLOCK, n)
            x, t = a[: hi - lo], b[: hi - lo]
            one, two = first[lo:hi], second[lo:hi]
            for salt, words, valid in cells:
                np.bitwise_xor(words[lo:hi], salt, out=x)
                _mix(x, t)
                if valid is not None:
                    np.multiply(x, valid[lo:hi], out=x)
                np.add(one, x, out=one)
                np.multiply(x, salt | np.uint64(1), out=x)
                np.right_shift(x, _S31, out=t)
                np.bitwise_xor(x, t, out=x)
                np.add(two, x, out=two)
            _mix(one, t)
            np.multiply(two, _SECOND, out=two)
            _mix(two, t)
    return first, second


def _mix(x: Words, t: Words) -> None:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014), in place; ``t`` is scratch."""
    np.right_shift(x, _S30, out=t)
    np.bitwise_xor(x, t, out=x)
    np.multiply(x, _M1, out=x)
    np.right_shift(x, _S27, out=t)
    np.bitwise_xor(x, t, out=x)
    np.multiply(x, _M2, out=x)
    np.right_shift(x, _S31, out=t)
    np.bitwise_xor(x, t, out=x)


def _salt(name: str, dtype: str) -> np.uint64:
    return np.frombuffer(
        hashlib.blake2b(f"{name}\0{dtype}".encode(), digest_size=8).digest(), "<u8"
    )[0]


def _words(series: pl.Series, dtype: str) -> tuple[npt.NDArray[np.unsignedinteger], Words | None]:
    """Cells as unsigned words, and 1/0 for valid/null where there are nulls."""
    valid = None
    if series.null_count():
        valid = series.is_not_null().cast(pl.UInt64).to_numpy()
    if dtype == "str":
        return _text_words(series), valid
    if dtype == "bool":
        return series.fill_null(False).cast(pl.UInt64).to_numpy(), valid
    values = series.to_physical().fill_null(0).to_numpy()
    if dtype == "f64":
        bits = values.view(np.uint64)
        if np.isnan(values).any():
            bits = np.where(np.isnan(values), _NAN64, bits)
        return bits, valid
    if dtype == "f32":
        bits = values.view(np.uint32)
        if np.isnan(values).any():
            bits = np.where(np.isnan(values), _NAN32, bits)
        return bits, valid
    return values.astype(np.int64, copy=False).view(np.uint64), valid


def _text_words(series: pl.Series) -> Words:
    """Each distinct text is hashed once."""
    distinct = series.drop_nulls().unique()
    codes = series.cast(pl.Enum(distinct)).to_physical().fill_null(0).to_numpy()
    hashes = b"".join(
        hashlib.blake2b(text.encode(), digest_size=8).digest() for text in distinct.to_list()
    )
    return np.frombuffer(hashes, "<u8")[codes]
