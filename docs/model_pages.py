"""The page of model families, from what each family declares."""

from __future__ import annotations

from page_parts import MADE, table

INTRO = """# Families of models

A model is a file in `data/inputs/models/` that names a family and its parameters; `wealthos models families`
shows what is below. A parameter that the family does not have, or a value out of bounds, is refused with
everything else that is wrong with the file. Features come in standardised within each date (mean 0, standard
deviation 1), labels as the file says, each date's rows weighing 1 together unless the file weighs otherwise.
"""

RULES = """## What holds for all

- **A fit is a function of its rows, parameters and seed.** The same bits on one thread or two; a file of a model
  is JSON, its numbers in hexadecimal, and gives the same predictions when it is read back. A file that is
  damaged, of another family or of another version is refused in words.
- **A row's score depends on no other row.** What is standardised across names is standardised before.
- **Missing features**: the date's mean (0) for everything linear; the better side of each split for trees. A feature
  that has no value at all gets no weight.
- **What a score is made of**: `gain` says how much each feature was used (absolute coefficient, loss taken away by
  splits, or the members' shares), `contributions` what it adds to each score: exact products for linear models,
  TreeSHAP for trees, weighted sums for stacks, log-odds for `direction`. They add up to the score.
- **Nothing to learn is said**: labels that are all the same, features without values, a class that never occurs, too
  few names for a regression, a penalty that leaves no coefficient. The fit is then listed as absent with its reason;
  nobody gets a silent zero.

## Which errors to believe

`fama_macbeth` averages a regression a date, with Newey–West errors over twice the overlap of the labels: on noise a
nominal 5 % test of 20-day labels still rejects 7–12 % of the time. `pooled_ols` clusters by date and by name; it does
not know that labels of neighbouring dates overlap across names, and its t is larger for that. `ic_weighted` counts
independent dates with the same Newey–West errors. None of them is evidence for a model: that is what out-of-sample
predictions are for ([what may be believed](../research/statistics.md)).

## A family of your own

One module with a frozen dataclass that has `name`, `params`, `fit(rows)` and `from_text(text)`
(`wealthos_pipeline/ml/predictors/base.py`), a `FAMILY` that declares its words and parameters, and one line in
`FAMILIES` of `wealthos_pipeline/ml/predictors/__init__.py`. The tests of `tests/ml/test_predictors_families.py` then
hold it to the rules above.
"""


def families_page() -> str:
    """``docs/models/families.md``."""
    from wealthos_pipeline.ml import predictors

    found = predictors.families()
    rows = ((f"[`{f.name}`](#{f.name})", f.title, f.use) for f in found)
    parts = [MADE, INTRO, table(("family", "what it is", "when to take it"), rows)]
    for f in found:
        parts.append(f"\n## {f.name}\n\n{f.learns}\n")
        if f.labels:
            parts.append(f"Label: `{'`, `'.join(f.labels)}` only.\n")
        if f.combines:
            parts.append(
                "`members:` names two models or more; each sees the features of its own file.\n"
            )
        parts.append(
            table(
                ("parameter", "default", "may be", "what"),
                (
                    (f"`{p.name}`", f"`{_value(p.default)}`", _may_be(p.kind, p.bounds), p.title)
                    for p in f.parameters
                ),
            )
        )
        parts.append(f"\nSource: {f.source}. Module: `{_module(predictors.FAMILIES[f.name])}`.")
    return "\n".join([*parts, "", RULES])


def _value(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _may_be(kind: str, bounds: str) -> str:
    return bounds if kind == "text" else ", ".join(p for p in (kind, bounds) if p)


def _module(dotted: str) -> str:
    return dotted.replace(".", "/") + ".py"
