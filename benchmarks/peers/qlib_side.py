"""Qlib's side, run in an environment of its own: its loaders' expressions and values.

``qlib_side.py DATA OUT SET [--columns …] [--names …] [--double]``: DATA is a folder in Qlib's format;
``OUT.json`` says names, expressions, versions and seconds, ``OUT-<n>.parquet`` holds the values of a
part of the instruments each, as Qlib's loader returns them. ``--double`` runs Qlib's operators on
Float64 fields instead of its Float32 ones: what then changes is its rounding.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

PART = 100
"""Instruments that are held in memory at once."""


def expressions(chosen: str, data: Path) -> tuple[list[str], list[str]]:
    """``(expressions, names)`` as Qlib's handlers ask for them; ``own``: those in ``DATA/own.json``."""
    if chosen == "own":
        own = json.loads((data / "own.json").read_text())
        return list(own.values()), list(own)
    from qlib.contrib.data.loader import Alpha158DL, Alpha360DL

    if chosen == "alpha360":
        fields, names = Alpha360DL.get_feature_config()
    else:
        from qlib.contrib.data.handler import Alpha158

        fields, names = Alpha158.get_feature_config(object.__new__(Alpha158))
    assert Alpha158DL
    return list(fields), list(names)


def in_double() -> None:
    """Let every stored field come as Float64."""
    from qlib.data.storage.file_storage import FileFeatureStorage

    stored = FileFeatureStorage.__getitem__

    def read(self: Any, i: Any) -> Any:
        found = stored(self, i)
        return found.astype("float64") if isinstance(i, slice) else found

    FileFeatureStorage.__getitem__ = read


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("chosen", choices=("alpha158", "alpha360", "own"))
    parser.add_argument("--kernels", type=int, default=2)
    parser.add_argument("--columns", nargs="*")
    parser.add_argument("--names", nargs="*")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--keep-none", action="store_true", help="time it, write no values")
    parser.add_argument("--whole", action="store_true", help="all instruments in one call")
    options = parser.parse_args()

    begun = time.perf_counter()
    import numpy
    import pandas
    import qlib
    from qlib.data.dataset.loader import QlibDataLoader

    qlib.init(
        provider_uri=str(options.data), region="us", kernels=options.kernels, logging_level=30,
        expression_cache=None, dataset_cache=None,
    )  # fmt: skip
    if options.double:
        in_double()
    fields, names = expressions(options.chosen, options.data)
    said = {
        "names": names, "expressions": fields, "qlib": qlib.__version__,
        "numpy": numpy.__version__, "pandas": pandas.__version__,
    }  # fmt: skip
    if options.columns is not None:
        kept = [i for i, n in enumerate(names) if n in set(options.columns)]
        fields, names = [fields[i] for i in kept], [names[i] for i in kept]
    listed = (options.data / "instruments" / "all.txt").read_text().splitlines()
    everybody = options.names or [line.split("\t")[0] for line in listed]
    calendar = (options.data / "calendars" / "day.txt").read_text().split()
    loader = QlibDataLoader(config={"feature": (fields, names)})
    step = len(everybody) if options.whole else PART
    ready = time.perf_counter()
    seconds = 0.0
    for part, first in enumerate(range(0, len(everybody), step)):
        started = time.perf_counter()
        frame = loader.load(everybody[first : first + step], calendar[0], calendar[-1])
        seconds += time.perf_counter() - started
        said["rows"] = said.get("rows", 0) + len(frame)
        if not options.keep_none:
            frame.columns = frame.columns.get_level_values(-1)
            out = options.out.with_name(f"{options.out.name}-{part}.parquet")
            frame.astype("float32").reset_index().to_parquet(out, index=False)
        del frame
    said |= {"import_seconds": ready - begun, "load_seconds": seconds}
    options.out.with_name(f"{options.out.name}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
