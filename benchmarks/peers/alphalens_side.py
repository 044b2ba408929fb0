"""One factor judged by alphalens, run in the peers' environment; see ``../factor_sides.py``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HORIZONS = (1, 5, 10)


def main(folder: Path, out: Path, keep: bool) -> None:
    said, begun, spent = {}, time.perf_counter(), time.process_time()

    def done(phase: str) -> None:
        nonlocal begun, spent
        said[phase], said[f"{phase}_cpu"] = time.perf_counter() - begun, time.process_time() - spent
        begun, spent = time.perf_counter(), time.process_time()

    import pandas as pd
    from alphalens import performance, utils

    done("import")
    bars = pd.read_parquet(folder / "bars.parquet", columns=["date", "instrument_id", "close"])
    bars["date"] = pd.to_datetime(bars["date"])
    prices = bars.pivot(index="date", columns="instrument_id", values="close")
    values = pd.read_parquet(folder / "signal.parquet")
    values["date"] = pd.to_datetime(values["date"])
    factor = values.set_index(["date", "instrument_id"])["factor"].rename_axis(["date", "asset"])
    done("read")
    data = utils.get_clean_factor_and_forward_returns(
        factor, prices, quantiles=5, periods=HORIZONS, max_loss=1.0
    )
    ic = performance.factor_information_coefficient(data)
    performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    for q in range(1, 6):
        performance.quantile_turnover(data["factor_quantile"], q, 1)
    performance.factor_rank_autocorrelation(data, 1)
    done("compute")
    if keep:
        rows = [
            pd.DataFrame({"date": ic.index, "horizon": h, "rank_ic": ic[c].to_numpy()})
            for c, h in zip(ic.columns, HORIZONS, strict=True)
        ]
        pd.concat(rows).to_parquet(out.with_suffix(".parquet"))
    out.with_suffix(".json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--keep" in sys.argv)
