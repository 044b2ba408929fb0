"""``wealthos portfolio whatif``: nothing done, a limit loosened, a mandate or limit at another value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.cli.portfolio_optimise import File, Name, named

if TYPE_CHECKING:
    from wealthos_pipeline.cli.portfolio_inputs import Question
    from wealthos_pipeline.portfolio.problem import Solution
    from wealthos_pipeline.portfolio.whatif import Comparison


def whatif(
    mandate: Name = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="key=value of the mandate, or of a limit by its key, repeatable; solved together.",
        ),
    ] = None,
    loosen: Annotated[
        list[str] | None,
        typer.Option("--loosen", help="A limit's key, repeatable: one step looser, solved again."),
    ] = None,
    nothing: Annotated[
        bool, typer.Option("--nothing", help="Only: what doing nothing would cost.")
    ] = False,
    mandate_file: File = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what would change: if nothing were done, if a limit gave way, if the mandate were another.

    Without options: doing nothing, and what each binding limit is worth.
    """
    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.published import open_last
    from wealthos_pipeline.portfolio import whatif as answers

    settings = options.load(root)
    run = open_last(settings)
    question = inputs.ask(run, named(settings, mandate, mandate_file))
    found = inputs.solved(question)
    p = question.problem
    made: dict[str, Comparison] = {}
    plain = not values and not loosen
    if nothing or plain:
        made["nothing"] = answers.nothing(p, found)
    for key in loosen or []:
        made[f"loosen {_key(question, key)}"] = answers.loosened(p, found, _key(question, key))
    if values:
        made["set"] = _set(question, found, values)
    prices = answers.prices(p, found) if plain else ()
    body: dict[str, Any] = {
        "mandate": question.mandate.name,
        "date": question.situation.date,
        "status": found.status,
        "answers": {k: v.data() | {"words": _named(question, v)} for k, v in made.items()},
        "prices": [
            {"key": x.key, "limit": question.named(x.limit), "value": x.value, "unit": x.unit,
             "per_unit": x.per_unit, "words": question.named(x.words)}
            for x in prices
        ],
    }  # fmt: skip
    if as_json:
        emit(body)
        return
    _show(question, made, body)
    if question.warning:
        note(question.warning)


def _key(q: Question, key: str) -> str:
    """The limit that was meant: by its key, or by the field of the mandate that sets it."""
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.portfolio import limits

    aliases = {
        "max_turnover": "turnover", "max_weight": "upper", "min_weight": "lower",
        "sector_max_weight": "sectors", "max_volatility": "volatility",
        "max_tracking_error": "tracking_error", "max_gross": "gross", "max_short": "short",
        "max_turnover_name": "turnover_name", "max_participation": "adv", "max_names": "max names",
        "min_names": "min names", "max_beta": "max beta", "min_beta": "min beta",
    }  # fmt: skip
    known = {x.key for x in limits.of(q.problem)}
    if aliases.get(key) in known:
        return aliases[key]
    hint = f"wealthos portfolio optimise {q.mandate.name} --json"
    return find("limit", key, known, hint)


def _set(q: Question, found: Solution, words: list[str]) -> Comparison:
    from wealthos_pipeline.cli import portfolio_inputs as inputs
    from wealthos_pipeline.core.errors import ConfigError
    from wealthos_pipeline.portfolio import loosen
    from wealthos_pipeline.portfolio import whatif as answers
    from wealthos_pipeline.utils.written import pairs

    values = pairs(words)
    fields = {k: v for k, v in values.items() if inputs.is_field(k)}
    others = {k: v for k, v in values.items() if k not in fields}
    p = q.problem
    if fields:
        p = inputs.ask(q.run, inputs.changed(q.mandate, fields)).problem
    for key, value in others.items():
        if not isinstance(value, int | float):
            raise ConfigError(f"--set {key}: {value!r} is not a number")
        p = loosen.to(p, _key(q, key), float(value))
    said = " and ".join(f"{k} at {v}" for k, v in values.items())
    return answers.changed(q.problem, found, p, said)


def _named(q: Question, c: Comparison) -> list[str]:
    return [q.named(x) for x in c.words]


def _show(q: Question, made: dict[str, Comparison], body: dict[str, Any]) -> None:
    from wealthos_pipeline.cli.output import note, out, table

    console = out()
    for name, c in made.items():
        rows = [
            [r.measure, _number(r.unit, r.before), _number(r.unit, r.after),
             _number(r.unit, r.change, sign=True)]
            for r in c.rows
        ]  # fmt: skip
        headings = ["measure", c.before, c.after, "change"]
        title = f"{q.mandate.name} on {q.situation.date}: {_title(name, c)}"
        table(headings, rows, title=title, right=headings[1:])
        for text in _named(q, c):
            console.print(text, markup=False)
    if body["prices"]:
        table(
            ["limit", "key", "worth"],
            [[x["limit"], x["key"], x["words"].removeprefix(f"{x['limit']}: ")] for x in body["prices"]],
            title="What binds, dearest first",
        )  # fmt: skip
        first = body["prices"][0]["key"]
        note(f'solve one again: wealthos portfolio whatif {q.mandate.name} --loosen "{first}"')


def _title(name: str, c: Comparison) -> str:
    return (
        "if nothing were done" if name == "nothing" else f"if {name}" if name != "set" else "if set"
    )


def _number(unit: str, x: float, *, sign: bool = False) -> str:
    import math

    if not math.isfinite(x):
        return "–"
    plus = "+" if sign else ""
    if unit == "names":
        return f"{x:{plus},.0f}".replace("-", "−")
    text = f"{100 * x:{plus}.3f} %" if abs(x) < 0.1 else f"{100 * x:{plus}.2f} %"
    return text.replace("-", "−")
