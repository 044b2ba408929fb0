"""Growth of sales and earnings. What has grown is bought too dearly; what surprises is not yet bought."""

from wealthos_pipeline.factors.equity._reported import reported, year

FACTORS = (
    reported(
        "sales_growth",
        f"{year('revenue')} / ({year('revenue', 1)} / ({year('revenue', 1)} > 0)) - 1",
        "growth",
        -1,
        "Growth of revenue over the year before [decimal]",
        "Lakonishok, Shleifer & Vishny (1994)",
        "no two years in a row, or no revenue in the first",
    ),
    reported(
        "earnings_growth",
        f"({year('net_income')} - {year('net_income', 1)}) / {year('total_assets', 1)}",
        "growth",
        +1,
        "Change of net income over the year before, over the assets then [decimal]",
        "Ball & Brown (1968)",
        "no two years in a row",
    ),
)
