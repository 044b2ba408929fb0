"""What changed between two runs, and why (DESIGN §6).

``compare`` looks at two manifests through their snapshots: tables, settings, code, bars, models,
holdings; and splits the change of every issued prediction and target into new bars, restated bars,
code or configuration, model, holdings, and a residual that is shown.
"""

from wealthos_pipeline.reporting.diff.compare import Diff, compare
from wealthos_pipeline.reporting.diff.facts import Bars, Facts, Fit, Setting, TableChange
from wealthos_pipeline.reporting.diff.moves import CAUSES, Move

__all__ = ["CAUSES", "Bars", "Diff", "Facts", "Fit", "Move", "Setting", "TableChange", "compare"]
