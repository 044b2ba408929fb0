"""Investment: firms that grow their assets, their plant or their shares earn less."""

from wealthos_pipeline.factors.equity._reported import quarter, reported, year


def _capex(back: int) -> str:
    return f"{year('capital_expenditure', back)} / {year('revenue', back)}"


FACTORS = (
    reported(
        "asset_growth",
        f"{year('total_assets')} / {year('total_assets', 1)} - 1",
        "investment",
        -1,
        "Growth of total assets over the year before [decimal]",
        "Cooper, Gulen & Schill (2008)",
        "no two years in a row",
    ),
    reported(
        "net_issuance",
        f"Log({quarter('shares_outstanding')} / {quarter('shares_outstanding', 4)})",
        "investment",
        -1,
        "Log growth of the number of shares over four quarters, splits undone",
        "Pontiff & Woodgate (2008)",
        "no number of shares, or none a year earlier",
    ),
    reported(
        "abnormal_investment",
        f"3 * {_capex(0)} / ({_capex(1)} + {_capex(2)} + {_capex(3)}) - 1",
        "investment",
        -1,
        "Capital expenditure over revenue against its mean of the three years before, less 1 [decimal]",
        "Titman, Wei & Xie (2004)",
        "no four years in a row",
    ),
)
