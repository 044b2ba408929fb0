"""``wealthos models promote``, ``rollback``, ``pin`` and ``unpin``: a person's word, with owner and reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.ml.policy import Policy

Owner = Annotated[str, typer.Option("--owner", help="Who answers for it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]
SlotName = Annotated[str, typer.Option("--slot", help="Slot of the promotion policy.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Model.")]


def promote(
    name: Name,
    owner: Owner = "",
    reason: Reason = "",
    slot: SlotName = "alpha",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a model the champion of a slot, whatever the policy thinks of it.

    It counts for live portfolios from the next run on, in backtests from the next close on.
    """
    from wealthos_pipeline.cli.models_subject import subject
    from wealthos_pipeline.ml import decisions

    run = _run(root)
    made = subject(run, name)
    if made.training is not None:
        raise ConfigError(
            f"{made.name} is a research training and cannot be champion: write its specification into "
            "data/inputs/models, add it to models.names and to the policy's candidates, and run"
        )
    policy = _policy(run)

    def row(now: datetime) -> pl.DataFrame:
        return decisions.promote(
            run.read("models.champions"), policy, slot=slot, model=made.model, owner=owner, reason=reason,
            now=now, calendar=_calendar(run),
        )  # fmt: skip

    _write(run, row, f"{made.model} is champion of {slot}", as_json=as_json)


def rollback(
    slot: Annotated[
        str | None, typer.Option("--slot", help="Slot to give back to the champion before.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Model to take back to an earlier fit.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="With --slot an earlier champion, with --model an earlier fit."),
    ] = None,
    owner: Owner = "",
    reason: Reason = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Go back: to the champion before this one, or with --model to an earlier fit of a model.

    Without --slot and --model the slot alpha is meant. The policy does not promote a model that was rolled
    back until a person does. An earlier fit serves, unchanged, until `wealthos models unpin`.
    """
    from wealthos_pipeline.ml import decisions

    if slot is not None and model is not None:
        raise ConfigError(
            "--slot and --model are two different ways back; use one of them: --slot changes the champion, "
            "--model the fit"
        )
    run = _run(root)
    if model is not None:
        _pin(run, model, to, owner, reason, as_json=as_json)
        return
    place, policy = slot or "alpha", _policy(run)

    def row(now: datetime) -> pl.DataFrame:
        return decisions.rollback(
            run.read("models.champions"), policy, slot=place, owner=owner, reason=reason, now=now,
            calendar=_calendar(run), to=to,
        )  # fmt: skip

    _write(run, row, "{model} is champion of {slot} again", as_json=as_json)


def pin(
    name: Name,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Fit (model_id); default: the live fit before the present one."),
    ] = None,
    owner: Owner = "",
    reason: Reason = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Let one fit of a model, also of an earlier run, serve until it is unpinned."""
    _pin(_run(root), name, to, owner, reason, as_json=as_json)


def unpin(
    name: Name,
    owner: Owner = "",
    reason: Reason = "",
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Let a model be refitted again after a rollback to an earlier fit."""
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.ml import decisions

    run = _run(root)
    model = find("model", name, _models(run), "wealthos models list")
    said = run.lake.read("raw.model_decisions")

    def row(now: datetime) -> pl.DataFrame:
        return decisions.unpin(
            said, model, owner=owner, reason=reason, now=now, calendar=_calendar(run)
        )

    _write(run, row, f"{model} is refitted as its schedule says", as_json=as_json)


def _pin(
    run: Published, name: str, to: str | None, owner: str, reason: str, *, as_json: bool
) -> None:
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.ml import decisions

    model = find("model", name, _models(run), "wealthos models list")
    fit = _fit(run, model, to)

    def row(now: datetime) -> pl.DataFrame:
        return decisions.pin(fit, owner=owner, reason=reason, now=now, calendar=_calendar(run))

    _write(run, row, f"the fit {fit['model_id']} serves for {model}", as_json=as_json)


def _fit(run: Published, model: str, to: str | None) -> dict[str, Any]:
    """The fit called ``to`` of any published run; without a name the live fit before the present one."""
    import polars as pl

    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.data.storage import manifest as manifests

    mine = pl.col("model") == model
    now = run.read("models.registry").filter(mine & (pl.col("kind") == "live"))
    serving = set(now.sort("refit_date")["model_id"].tail(1))
    seen: dict[str, dict[str, Any]] = {}
    versions: set[int] = set()
    for one in reversed(manifests.history(run.lake)):
        version = one.tables.get("models.registry")
        if version is None or version in versions:
            continue
        versions.add(version)
        fits = run.lake.scan("models.registry", version=version).filter(mine)
        for fit in fits.collect().sort("refit_date", "model_id", descending=True).to_dicts():
            seen.setdefault(fit["model_id"], fit)
            if to is None and fit["kind"] == "live" and fit["model_id"] not in serving:
                return fit
        if to in seen:
            return seen[to]
    if to is None:
        raise ConfigError(
            f"{model} has no live fit before the present one ({', '.join(serving) or 'none'}), so there is "
            "nothing to go back to; name any fit with --to"
        )
    return seen[find("fit", to, seen, "wealthos models list --json")]


def _write(
    run: Published, row: Callable[[datetime], pl.DataFrame], words: str, *, as_json: bool
) -> None:
    """Append one decision under the root's lock."""
    from wealthos_pipeline.cli.output import emit, out
    from wealthos_pipeline.data.storage.lock import lock

    with lock(run.lake.root, "model decision"):
        made = row(datetime.now(UTC))
        run.lake.append("raw.model_decisions", made)
        run.lake.flush()
    if as_json:
        emit(made.drop("row").to_dicts())
        return
    told = words.format(**made.row(0, named=True)) if "{" in words else words
    out().print(f"[green]✓[/green] {told} from the next run on: `wealthos run`")


def _run(root: Any) -> Published:
    from wealthos_pipeline.cli.published import open_last

    return open_last(options.load(root))


def _models(run: Published) -> list[str]:
    names: list[str] = run.read("models.registry")["model"].unique().to_list()
    return names


def _policy(run: Published) -> Policy:
    from wealthos_pipeline.cli.models_subject import declared
    from wealthos_pipeline.ml import policy

    return policy.load(run.settings.models, declared(run.settings))


def _calendar(run: Published) -> Any:
    from wealthos_pipeline.cli.published import calendar

    return calendar(run.settings)
