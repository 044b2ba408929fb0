"""The language: what is read, how it is refused, how far back it looks."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealthos_pipeline.core.errors import FactorError
from wealthos_pipeline.factors.expression import (
    fields,
    labels,
    lookback,
    others,
    parse,
    series,
    statements,
    walk,
)
from wealthos_pipeline.factors.operators import EXPANDING, OPERATORS, decay_keep, decay_length
from wealthos_pipeline.factors.plan import explain, plan, rows


@pytest.mark.parametrize(
    ("text", "sessions"),
    [
        ("$close", 0),
        ("$ret", 1),
        ("Ref($close, 21) / Ref($close, 252) - 1", 252),
        ("Mean(Std($ret, 20), 60)", 1 + 19 + 59),
        ("Corr($close / Ref($close, 1), Log($volume / Ref($volume, 1) + 1), 60)", 60),
        ("$market_ret", 1),
        ("CSRank(Delta($close, 5))", 5),
        ("Max($close, 1)", 0),
    ],
)
def test_lookback_adds_up_along_the_longest_path(text: str, sessions: int) -> None:
    assert lookback(parse(text)) == sessions


def test_what_an_exponential_window_drops_weighs_less_than_half_a_float32_place() -> None:
    for span in (2, 12, 26, 0.05):
        n, keep = decay_length(span), decay_keep(span)
        assert keep**n <= 2**-24 < keep ** (n - 2)
    assert lookback(parse("EMA($close, 12)")) == decay_length(12) - 1


def test_precedence_is_pythons() -> None:
    assert str(parse("-$close ** 2 + 3 * $open")) == "Add(Neg(Power($close, 2)), Mul(3, $open))"
    assert str(parse("($close > $open) & ~($low < 2) | ($high == 1)")) == (
        "Or(And(Gt($close, $open), Not(Lt($low, 2))), Eq($high, 1))"
    )


def test_qlib_strings_are_read_unchanged() -> None:
    for text in (
        "($close-$open)/($high-$low+1e-12)",
        "2*$close-$high-$low",
        "Less($close-Ref($close, 1), 0)",
        "Resi($close, 60)/$close",
        "Quantile($close, 20, 0.8)/$close",
        "(IdxMax($high, 30)-IdxMin($low, 30))/30",
        "Mean($close>Ref($close, 1), 5)-Mean($close<Ref($close, 1), 5)",
        "Std(Abs($close/Ref($close, 1)-1)*$volume, 5)/(Mean(Abs($close/Ref($close, 1)-1)*$volume, 5)+1e-12)",
    ):
        assert fields(parse(text)) <= {"close", "open", "high", "low", "volume"}


def test_series_are_named_in_reading_order() -> None:
    tree = parse("Series('ust_par', '10Y') - Series('ust_par', '2Y') + 0 * Series('vix')")
    assert series(tree) == (("ust_par", "10Y"), ("ust_par", "2Y"), ("vix", ""))


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("Meen($close, 5)", 1, "did you mean 'Mean'"),
        ("Mean($clos, 5)", 6, "did you mean '$close'? Fields: $close, "),
        ("Mean($change, 5)", 6, "did you mean '$ret'?"),
        ("$zzz", 1, "unknown field $zzz. Fields: "),
        ("Mean($close 5)", 6, "invalid syntax; is a comma missing?"),
        ("Mean($close, n=20, n=30)", 16, "n of Mean(x, n, min_periods=…) is given twice"),
        ("1 + Ref($close, -1)", 17, "looks into the future"),
        ("Delta($close, -5)", 15, "looks into the future"),
        ("Mean($close, -3)", 14, "is negative; no window"),
        ("Mean($close, 20001)", 14, "n = 0 is everything since the first session"),
        ("Mean($close, 1e999)", 14, "too large"),
        ("Mean($close, nan)", 14, "number written out"),
        ("Mean($close, True)", 14, "number written out"),
        ("Mean($close, '5')", 14, "number written out"),
        ("Mean($close, 0.5)", 14, "whole number"),
        ("Mean($close, 5 / 0)", 18, "division by 0"),
        ("Kurt($close, 3)", 14, "needs a window of at least 4"),
        ("EMA($close, -1)", 13, "is negative; no window"),
        ("EMA($close, 1e-9)", 13, "forgets too slowly"),
        ("Std($close, 2.5)", 13, "whole number"),
        ("Std($close, $open)", 13, "number written out"),
        ("Quantile($close, 20, 1.5)", 22, "between 0 and 1"),
        ("Mean($close)", 1, "takes 2 arguments, found 1"),
        ("Mean()", 1, "takes 2 arguments, found 0"),
        ("Mean", 1, "needs its arguments: Mean(x, n, min_periods=…)"),
        ("Quantile($close, 20)", 1, "Quantile(x, n, q, min_periods=…) takes 3 arguments, found 2"),
        ("Abs($close, $open)", 1, "takes 1 argument, found 2"),
        ("Corr($close, 5, 5, 5)", 1, "takes 3 arguments, found 4"),
        ("Mean($close, 5, min_periods=6)", 29, "between 1 and 5"),
        ("Mean($close, 5, center=1)", 24, "no argument 'center'"),
        ("Abs($close, min_periods=2)", 25, "no argument 'min_periods'"),
        ("Mean(**$close)", 8, "no argument '**'"),
        ("Mean(*$close)", 6, "* before an argument"),
        ("$close +", 9, "cannot be read"),
        ("Mean($close, 5", 5, "cannot be read"),
        ("close + 1", 1, "written $name"),
        ("$close if $open else 1", 1, "write If(c, x, y)"),
        ("1 + (lambda x: x)($close)", 5, "not part of the language"),
        ("Mean(lambda: 1, 3)", 6, "lambda is not part of the language"),
        ("$close ^ 2", 1, "a power is written **"),
        ("$close % 2", 1, "% is not part"),
        ("$close is 2", 1, "write =="),
        ("($close, $open)", 1, "a list of values"),
        ("$close > 1 & $open > 2", 1, "put each in brackets"),
        ("$close = 2", 8, "a comparison is written =="),
        ("$close & & $open", 10, "cannot be read"),
        ("($close + 1))", 13, "cannot be read (unmatched ')')"),
        ("$close $open", 8, "cannot be read"),
        ("$close Ref($close, 1)", 8, "cannot be read"),
        ("2$close", 2, "an operator is expected before $"),
        ("$ + 1", 1, "name is expected after $"),
        ("$close / 0", 10, "division by 0"),
        ("$close / (3 - 3.0)", 11, "division by 0"),
        ("Div($close, 0)", 13, "division by 0"),
        ("(-8) ** 0.5 * $close", 1, "has no value"),
        ("10 ** 400 * $close", 1, "too large"),
        ("1e999 + $close", 1, "too large"),
        ("P($$roewa_q)", 3, "Statement('revenue', 'ttm')"),
        ("P($close)", 1, "Statement('revenue', 'ttm')"),
        ("PRef($close, 201901)", 1, "Statement('revenue', 'ttm')"),
        ("TResample($close, '1M', 'last')", 1, "known before its period ends"),
        ("Rolling($close, 5, 'mean')", 1, "Mean(x, 20)"),
        ("Feature('close')", 1, "written $name"),
        ("$close()", 1, "did you mean '$close'"),
        ("sector", 1, "sector is a group and no number"),
        ("$close * sector", 10, "second place of CSRank"),
        ("CSRank(sector)", 8, "is a group and no number"),
        ("CSRank($close, sectr)", 16, "did you mean 'sector'"),
        ("CSRank($close, $open)", 16, "found '$open'"),
        ("CSRank($close, sector, 3)", 1, "takes 1 to 2 arguments"),
        ("Neutralize($close, foo)", 20, "a group is one of sector, exchange, currency"),
        ("Neutralize($close, $open, sector)", 27, "is a group and no number"),
        ("CSWinsorize($close, -1)", 21, "between 0 and 1e+06"),
        ("Mask($close, SPY)", 14, "the instrument in quotes"),
        ("Mask('SPY', $close)", 13, "the instrument in quotes"),
        ("ChangeInstrument($close, 'SPY')", 18, "the instrument in quotes"),
        ("Mask($close)", 1, "written Mask(x, 'instrument')"),
        ("Statement('revenue')", 1, "written Statement('revenue', 'ttm')"),
        ("Statement('revenue', 'decade')", 22, "no period 'decade' of a statement"),
        ("Statement($close, 'ttm')", 1, "written Statement('revenue', 'ttm')"),
        ("Series('')", 1, "written Series"),
        ("Series('a', 'b', 'c')", 1, "written Series"),
        ("Series('vix', tenor='1M')", 1, "written Series"),
        ("CSRank(1, sector)", 1, "reads no field"),
        ("Mask($close, 'a\\d')", 16, "not part of the language"),
        ("Mask($close, 'a\x00')", 16, "not part of the language"),
        ("Mask($close, 'a\ud800')", 16, "not part of the language"),
        ("'unclosed + $close", 1, "cannot be read (unterminated string literal"),
        ("__import__('os')", 1, "not part of the language"),
        ("$close.real", 1, "not part of the language"),
        ("1 < $close < 2", 1, "cannot be chained"),
        ("'text' + $close", 1, "a number or a field"),
        ("1 + 2", 1, "reads no field"),
        ("  ", 1, "empty"),
        ("$close ; 1", 8, "not part of the language"),
        ("Series(3)", 1, "written Series"),
    ],
)
def test_faults_point_at_the_column(text: str, column: int, words: str) -> None:
    with pytest.raises(FactorError) as caught:
        parse(text, "mine")
    message = str(caught.value)
    first, shown, caret = message.splitlines()[-3:]
    assert first.startswith(f"mine, column {column}: ")
    assert words in message
    assert shown[2:] == text
    assert caret == "  " + " " * (column - 1) + "^"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("$close\n  + Meen($open, 5)\n  + 1", 2, 5, "did you mean 'Mean'"),
        ("Mean(\r\n    $close,\r\n    -3)", 3, 5, "is negative"),
        ("(\n$close +\n$open", 1, 1, "was never closed"),
        ("\n\n  Mean(\n\t$clos, 5)", 4, 2, "did you mean '$close'"),
        ("$close +\n'ä' + $x", 2, 1, "a number or a field"),
        ("Mask($close, 'ä') +\nMask($close, 'ä') + $x", 2, 21, "unknown field $x"),
        ("$close\n+ $open\n+", 3, 2, "cannot be read"),
    ],
)
def test_faults_of_several_lines_show_the_right_one(
    text: str, line: int, column: int, words: str
) -> None:
    with pytest.raises(FactorError) as caught:
        parse(text, "mine")
    first, shown, caret = str(caught.value).splitlines()
    assert first.startswith(f"mine, line {line}, column {column}: ")
    assert words in first
    assert shown[2:] == text.replace("\r\n", "\n").split("\n")[line - 1].replace("\t", " ")
    assert caret == "  " + " " * (column - 1) + "^"


def test_a_long_line_is_shown_around_the_fault() -> None:
    text = "$close + " * 40 + "Foo($close)" + " + $close" * 40
    with pytest.raises(FactorError) as caught:
        parse(text)
    _, shown, caret = str(caught.value).splitlines()
    assert len(shown) < 130
    assert shown[caret.index("^") :].startswith("Foo(")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "$close" + ")" * 5000,
        "(" * 150 + "$close" + "+1)" * 150,
        "-" * 3000 + "$close",
        "Abs(" * 190 + "$close" + ")" * 190,
        "$close" + " + $close" * 600,
        "~" * 900 + "$close",
    ],
)
def test_very_deep_expressions_are_refused_in_words(text: str) -> None:
    with pytest.raises(FactorError, match=r"nested too deeply|cannot be read"):
        parse(text)


def test_too_many_characters_are_refused_and_many_are_read() -> None:
    with pytest.raises(FactorError, match="20001 characters; at most 20000"):
        parse("$close" + " " * 19_995)
    assert parse("$close" + " " * 19_994) == parse("$close")
    wide = "Greater(" * 7
    assert lookback(parse(wide + "$close" + ", Ref($open, 3))" * 7)) == 3
    assert lookback(parse("$close" + " + $close" * 100)) == 0


TREES = (
    "Ref($close, 21) / Ref($close, 252) - 1e-12 * $volume ** -0.1",
    "Mean(Std($ret, 20, min_periods=15), 60) + EMA($close, 0.3) + Quantile($low, 0, 0.8)",
    "CSRank($close, sector) + CSRank($close) + CSWinsorize($open, 3.5)",
    "Neutralize($close, sector, Log($volume), $ret) - Neutralize($close, $open)",
    "Mask($close, 'BRK.B') > Series('vix') & ~(Statement('revenue', 'ttm') <= -3)",
    "If($close != 0.1, -$open, 1234567.875) + 0.30000000000000004 * $raw_vwap",
)


@pytest.mark.parametrize("text", TREES)
def test_a_tree_is_written_as_it_can_be_read_again(text: str) -> None:
    tree = parse(text)
    assert parse(str(tree)) == tree
    assert hash(parse(str(tree))) == hash(tree)
    assert pickle.loads(pickle.dumps(tree)) == tree


WORDS = [
    "$close", "$open", "$", "$$roe", "$nix", "close", "sector", "1", "0", "-3", "2.5", "1e999", "'ä'", "'SPY'",
    "Mean(", "Ref(", "CSRank(", "Neutralize(", "Mask(", "Series(", "Statement(", "EMA(", "If(", "P(", "Foo(",
    "(", ")", ",", "+", "-", "*", "/", "**", ">", "==", "=", "&", "~", "and", "not", "in", "is", "lambda", ":",
    "if", "else", "for", ".real", "[", "{", "#", "\\", "\n", "\t", "min_periods=3", "q=", "_", "µ", "None", "f''",
]  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from(["", " "]))
def test_whatever_is_written_is_read_or_refused_with_a_place(words: list[str], join: str) -> None:
    text = join.join(words)
    try:
        tree = parse(text, "mine")
    except FactorError as error:
        first, shown, caret = str(error).splitlines()
        assert first.startswith("mine, ")
        assert caret.strip() == "^"
        assert len(caret) <= len(shown) + 1
    else:
        assert parse(str(tree)) == tree


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(FactorError):
        parse(text)


def test_spellings_mean_the_same() -> None:
    for one, two in (
        ("Sub(Add($close, 1), Mul($open, Div(4, 2)))", "$close + 1 - $open * 2"),
        ("And(Gt($close, 1), Le($open, 2))", "($close > 1) & ($open <= 2)"),
        ("Or(Ne($close, 1), Not(Eq($open, 2)))", "($close != 1) | ~($open == 2)"),
        ("ChangeInstrument('SPY', $close)", "Mask($close, 'SPY')"),
        ("Mean($close, 4 * 5)", "Mean($close, 20)"),
        ("Quantile($close, q=0.2, n=20)", "Quantile($close, 20, 0.2)"),
        ("CSRank($close, group=sector)", "CSRank($close, sector)"),
        ("CSWinsorize($close)", "CSWinsorize($close, k=5)"),
        ("not $close > 1 or $open < 2", "~($close > 1) | ($open < 2)"),
    ):
        assert parse(one) == parse(two), one


def test_every_qlib_word_is_read_or_refused_by_name() -> None:
    """The operators that Qlib 0.9.7 registers, with arguments as Qlib takes them."""
    read = (
        "Abs Sign Log Not:x|Power Add Sub Mul Div Greater Less Gt Ge Lt Le Eq Ne And Or:x,y|If:x,y,z|"
        "Ref Mean Sum Std Var Skew Kurt Max IdxMax Min IdxMin Med Mad Rank Count Delta Slope Rsquare "
        "Resi WMA EMA:x,n|Quantile:x,n,0.2|Corr Cov:x,y,n|Mask:x,'SPY'|ChangeInstrument:'SPY',x"
    )
    for group in read.split("|"):
        words, form = group.split(":")
        for word in words.split():
            for n in ("20", "0") if "n" in form else ("",):
                args = form.replace("n", n).replace("x", "$close").replace("y", "$open")
                tree = parse(f"{word}({args.replace('z', '$low')})")
                assert tree.op == {"ChangeInstrument": "Mask"}.get(word, word)
    for word in ("TResample", "P", "PRef", "PFeature", "Feature", "Rolling"):
        with pytest.raises(FactorError, match=f"{word} is not part of the language: "):
            parse(f"{word}($close, 5)")


def test_an_expanding_window_looks_back_on_all_of_history() -> None:
    for text in ("Mean($close, 0)", "Ref($close, 0)", "Delta($close, 0)", "EMA($close, 0)",
                 "Ref(Mean($close, 0), 5)", "Mask(Sum($close, 0), 'SPY') - $close"):  # fmt: skip
        assert lookback(parse(text)) == EXPANDING
        assert "all of history" in explain({"x": parse(text)})


def test_columns_of_a_plain_table_are_fields_when_they_are_named() -> None:
    tree = parse("$mid / Ref($mid, 1) + $close", fields={"mid", "ret"})
    assert fields(tree) == {"mid", "close"}
    assert fields(parse("$ret", fields={"ret"})) == {"ret"}
    assert fields(parse("$ret")) == {"close"}
    with pytest.raises(
        FactorError, match=r"unknown field \$mdi; did you mean '\$mid'\? Fields: .*\$mid"
    ):
        parse("$mdi", fields={"mid"})


def test_what_an_expression_reads_is_found_below_masks() -> None:
    tree = parse(
        "Beta($ret, Mask($open / CSMean($low, sector), 'SPY'), 60) + Statement('sales', 'ttm')"
    )
    assert fields(tree) == {"close", "open", "low"}
    assert labels(tree) == {"sector"}
    assert others(tree) == {"SPY"}
    assert statements(tree) == (("sales", "ttm"),)


def test_equal_parts_are_computed_once() -> None:
    p = plan({"a": parse("Mean($close, 5) / $close"), "b": parse("Std(Mean($close, 5), 3)")})
    assert len(p.steps) == len({s.node for s in p.steps}) == 4
    assert p.steps[p.outputs["a"]].lookback == 4
    assert p.steps[p.outputs["b"]].lookback == 6
    close = next(s for s in p.steps if str(s.node) == "$close")
    assert close.history == 6


def test_a_cross_section_ends_a_level() -> None:
    p = plan({"a": parse("Mean(CSRank(Mean($close, 5)), 3) + CSZScore(CSRank($open))")})
    levels = {str(s.node): s.level for s in p.steps}
    assert levels["Mean($close, 5)"] == 0
    assert levels["CSRank($open)"] == 1
    assert levels["CSZScore(CSRank($open))"] == 2
    assert p.levels == 3


def test_the_plan_in_words_names_lookback_fields_and_what_is_shared() -> None:
    words = explain({"x": parse("Mean($ret, 5) / Std($ret, 5)")})
    assert "lookback 5 sessions, fields $close" in words
    assert "shared by 2" in words
    assert words.count("Ref($close, 1)") == 1


def test_rows_of_a_plan_say_what_a_step_is_and_costs() -> None:
    found = {r.words: r for r in rows({"a": parse("Mean($close, 5) - Max($open, 9, min_periods=3)"),
                                       "b": parse("Neutralize(Std($close, 5), sector, $open)")})}  # fmt: skip
    assert list(found) == ["$close", "Mean($close, 5)", "$open", "Max($open, 9, min_periods=3)",
                           "Sub(#1, #3)", "Std($close, 5)", "sector", "Neutralize(#5, sector, $open)"]  # fmt: skip
    assert found["$close"].shared == 2
    assert found["Sub(#1, #3)"].outputs == ("a",)
    assert found["Sub(#1, #3)"].lookback == 8
    assert found["Neutralize(#5, sector, $open)"].all_names
    assert found["Neutralize(#5, sector, $open)"].fields == ("close", "open")
    assert all(0 < r.floor <= 2 * r.cost for r in found.values())


def test_every_operator_has_words() -> None:
    for name, operator in OPERATORS.items():
        assert operator.doc
        assert operator.signature.startswith(f"{name}(")


def test_trees_are_equal_by_content() -> None:
    assert parse("Mean($close,5)") == parse(" Mean( $close , 5.0 )")
    assert len(set(walk(parse("$close + $close")))) == 2
