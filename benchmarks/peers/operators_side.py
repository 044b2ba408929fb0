"""Qlib's side of ``operators_compare.py``: every operator on two series, in Qlib's own classes.

``operators_side.py DATA OUT``: DATA is JSON with the series ``x`` and ``y`` and with ``texts``, which are
read by Qlib's own rule for expressions; OUT is JSON, text → values, or the words of its error.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import qlib
from qlib.data import cache, ops
from qlib.data.base import Expression, Feature
from qlib.utils import parse_field


class _Series(Feature):  # type: ignore[misc]
    data: ClassVar[dict[str, list[float]]] = {}

    def _load_internal(self, instrument: str, *args: Any) -> pd.Series:
        return pd.Series(self.data[self._name], dtype=float)


class _Cache(dict[str, dict[Any, Any]]):
    def __missing__(self, key: str) -> dict[Any, Any]:
        self[key] = {}
        return self[key]


def main() -> None:
    warnings.simplefilter("ignore")
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    _Series.data = given
    cache.H = _Cache()
    ops.Operators.register(ops.OpsList)
    ops.Operators._ops["Feature"] = _Series
    out: dict[str, Any] = {"versions": {"qlib": qlib.__version__, "pandas": pd.__version__}}
    for text in given["texts"]:
        try:
            node = eval(parse_field(text), {"Operators": ops.Operators})
            assert isinstance(node, Expression)
            values = np.asarray(node.load("A", 0, 0, "day"), dtype=float)
            out[text] = [float(v) if np.isfinite(v) else None for v in values]
        except Exception as error:
            out[text] = f"{type(error).__name__}: {error}"
    Path(sys.argv[2]).write_text(json.dumps(out), "utf-8")


if __name__ == "__main__":
    main()
