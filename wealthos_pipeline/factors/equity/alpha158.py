"""Qlib's Alpha158, every expression as Qlib writes it.

Nine shapes of the day's bar, four prices of the day, and 29 statistics over windows of 5 to 60
sessions. Qlib signs none of them: the model finds the direction, and +1 stands here for "not signed".
Source: Qlib 0.9.7, ``Alpha158DL.get_feature_config``; Yang, Liu, Zhou, Bian & Liu (2020),
arXiv:2009.11189.
"""

from __future__ import annotations

from collections.abc import Iterator

from wealthos_pipeline.core.asset import AssetClass
from wealthos_pipeline.core.factor import Factor

WINDOWS = (5, 10, 20, 30, 60)

REFERENCE = "Qlib 0.9.7, Alpha158 {name}; Yang et al. (2020), arXiv:2009.11189; not signed there"

_RANGE = "($high-$low+1e-12)"
_DAY = "Abs($close-Ref($close, 1))"
_UP, _DOWN = "Greater($close-Ref($close, 1), 0)", "Greater(Ref($close, 1)-$close, 0)"
_MOVED = "Abs($close/Ref($close, 1)-1)*$volume"
_VDAY = "Abs($volume-Ref($volume, 1))"
_VUP, _VDOWN = "Greater($volume-Ref($volume, 1), 0)", "Greater(Ref($volume, 1)-$volume, 0)"

_BARS = (
    ("KMID", "($close-$open)/$open", "Close less open, over the open"),
    ("KLEN", "($high-$low)/$open", "High less low, over the open"),
    ("KMID2", f"($close-$open)/{_RANGE}", "Close less open, over the day's range"),
    ("KUP", "($high-Greater($open, $close))/$open", "Upper shadow, over the open"),
    ("KUP2", f"($high-Greater($open, $close))/{_RANGE}", "Upper shadow, over the day's range"),
    ("KLOW", "(Less($open, $close)-$low)/$open", "Lower shadow, over the open"),
    ("KLOW2", f"(Less($open, $close)-$low)/{_RANGE}", "Lower shadow, over the day's range"),
    ("KSFT", "(2*$close-$high-$low)/$open", "Close less mid-range, doubled, over the open"),
    ("KSFT2", f"(2*$close-$high-$low)/{_RANGE}", "Close less mid-range, doubled, over the range"),
    ("OPEN0", "$open/$close", "Open over the close"),
    ("HIGH0", "$high/$close", "High over the close"),
    ("LOW0", "$low/$close", "Low over the close"),
    ("VWAP0", "$vwap/$close", "Volume-weighted average price over the close"),
)

_ROLLING = (
    ("trend", "ROC", "Ref($close, {n})/$close", "Close of {n} sessions ago over the close"),
    ("trend", "MA", "Mean($close, {n})/$close", "{n}-session mean over the close"),
    ("trend", "STD", "Std($close, {n})/$close", "{n}-session deviation of the close, over the close"),
    ("trend", "BETA", "Slope($close, {n})/$close", "{n}-session slope a session, over the close"),
    ("trend", "RSQR", "Rsquare($close, {n})", "R² of the {n}-session trend line"),
    ("trend", "RESI", "Resi($close, {n})/$close", "Close less its {n}-session trend line, over the close"),
    ("range", "MAX", "Max($high, {n})/$close", "{n}-session high over the close"),
    ("range", "MIN", "Min($low, {n})/$close", "{n}-session low over the close"),
    ("range", "QTLU", "Quantile($close, {n}, 0.8)/$close", "80 % quantile of {n} closes, over the close"),
    ("range", "QTLD", "Quantile($close, {n}, 0.2)/$close", "20 % quantile of {n} closes, over the close"),
    ("range", "RANK", "Rank($close, {n})", "Rank of the close among {n}"),
    ("range", "RSV", "($close-Min($low, {n}))/(Max($high, {n})-Min($low, {n})+1e-12)",
     "Place of the close in the {n}-session range"),
    ("range", "IMAX", "IdxMax($high, {n})/{n}", "When the {n}-session high was, 1 is today"),
    ("range", "IMIN", "IdxMin($low, {n})/{n}", "When the {n}-session low was, 1 is today"),
    ("range", "IMXD", "(IdxMax($high, {n})-IdxMin($low, {n}))/{n}",
     "Time from the {n}-session low to the high, over {n}"),
    ("volume", "CORR", "Corr($close, Log($volume+1), {n})",
     "{n}-session correlation of close and log volume"),
    ("volume", "CORD", "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), {n})",
     "{n}-session correlation of the changes of close and log volume"),
    ("moves", "CNTP", "Mean($close>Ref($close, 1), {n})", "Share of {n} sessions that rose"),
    ("moves", "CNTN", "Mean($close<Ref($close, 1), {n})", "Share of {n} sessions that fell"),
    ("moves", "CNTD", "Mean($close>Ref($close, 1), {n})-Mean($close<Ref($close, 1), {n})",
     "Share of {n} sessions that rose less those that fell"),
    ("moves", "SUMP", f"Sum({_UP}, {{n}})/(Sum({_DAY}, {{n}})+1e-12)", "Rises among {n} sessions' moves"),
    ("moves", "SUMN", f"Sum({_DOWN}, {{n}})/(Sum({_DAY}, {{n}})+1e-12)", "Falls among {n} sessions' moves"),
    ("moves", "SUMD", f"(Sum({_UP}, {{n}})-Sum({_DOWN}, {{n}}))/(Sum({_DAY}, {{n}})+1e-12)",
     "Rises less falls among {n} sessions' moves"),
    ("volume", "VMA", "Mean($volume, {n})/($volume+1e-12)", "{n}-session mean volume over the day's"),
    ("volume", "VSTD", "Std($volume, {n})/($volume+1e-12)",
     "{n}-session deviation of volume over the day's volume"),
    ("volume", "WVMA", f"Std({_MOVED}, {{n}})/(Mean({_MOVED}, {{n}})+1e-12)",
     "Deviation over mean of {n} volume-weighted absolute returns"),
    ("volume", "VSUMP", f"Sum({_VUP}, {{n}})/(Sum({_VDAY}, {{n}})+1e-12)",
     "Rises among {n} changes of volume"),
    ("volume", "VSUMN", f"Sum({_VDOWN}, {{n}})/(Sum({_VDAY}, {{n}})+1e-12)",
     "Falls among {n} changes of volume"),
    ("volume", "VSUMD", f"(Sum({_VUP}, {{n}})-Sum({_VDOWN}, {{n}}))/(Sum({_VDAY}, {{n}})+1e-12)",
     "Rises less falls among {n} changes of volume"),
)  # fmt: skip
"""Family, Qlib's name without the window, expression, title."""

_MISSING = {
    "VWAP": "no source gives a volume-weighted price, or the bar is missing",
    "CORR": "fewer than 2 sessions with both, or one of the two is constant",
    "CORD": "fewer than 2 sessions with both, or one of the two is constant",
    "RSQR": "fewer than 2 closes, or they are constant",
}
_TWO = ("STD", "BETA", "RESI", "VSTD", "WVMA")


def _factors() -> Iterator[Factor]:
    for name, expression, title in _BARS:
        yield _factor("bars", name, expression, title, _MISSING.get(name[:-1], "no such bar"))
    for family, stem, expression, title in _ROLLING:
        usual = f"fewer than {2 if stem in _TWO else 1} observations in the window, or no bar today"
        for n in WINDOWS:
            yield _factor(
                family,
                f"{stem}{n}",
                expression.replace("{n}", str(n)),
                title.replace("{n}", str(n)),
                _MISSING.get(stem, usual),
            )


def _factor(family: str, name: str, expression: str, title: str, missing: str) -> Factor:
    unit = "1e-12" in expression or "$volume+1)" in expression
    return Factor(
        name=f"a158_{name.lower()}",
        asset_class=AssetClass.EQUITY,
        family=f"alpha158_{family}",
        direction=+1,
        title=f"{name}: {title[0].lower() + title[1:]} [decimal]",
        reference=REFERENCE.format(name=name),
        expression=expression,
        basis="unit" if unit else "adjusted",
        sets=("alpha158",),
        nan_means=missing,
    )


FACTORS = tuple(_factors())
