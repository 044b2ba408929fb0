"""Earnings surprise: what was earned against the same quarter a year earlier."""

from wealthos_pipeline.factors.equity._reported import quarter, reported


def _surprise(metric: str) -> str:
    """Seasonal difference over the deviation (n − 1) of the last eight of them."""
    changes = [f"({quarter(metric, k)} - {quarter(metric, k + 4)})" for k in range(8)]
    mean = f"(({' + '.join(changes)}) / 8)"
    squares = " + ".join(f"Power({x} - {mean}, 2)" for x in changes)
    return f"{changes[0]} / Power(({squares}) / 7, 0.5)"


FACTORS = (
    reported(
        "sue",
        _surprise("eps_diluted"),
        "earnings",
        +1,
        "Earnings a share less those of a year earlier, over the deviation of eight such changes",
        "Bernard & Thomas (1989); Foster, Olsen & Shevlin (1984)",
        "no twelve quarters in a row",
    ),
    reported(
        "revenue_surprise",
        _surprise("revenue"),
        "earnings",
        +1,
        "Revenue of the quarter less that of a year earlier, over the deviation of eight such changes",
        "Jegadeesh & Livnat (2006)",
        "no twelve quarters in a row",
    ),
    reported(
        "earnings_change_to_price",
        f"({quarter('eps_diluted')} - {quarter('eps_diluted', 4)}) / $raw_close",
        "earnings",
        +1,
        "Earnings a share less those of a year earlier, over the price [decimal]",
        "Livnat & Mendenhall (2006)",
        "no same quarter a year earlier",
        basis="unadjusted",
    ),
)
