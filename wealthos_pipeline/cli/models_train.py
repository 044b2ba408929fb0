"""``wealthos models train``: any model walked forward on the published data, apart from what is live."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wealthos_pipeline.cli import options
from wealthos_pipeline.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from datetime import date

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.core.model import ModelSpec
    from wealthos_pipeline.ml.research import Research

_BARS = ("instrument_id", "date", "slot", "tr_index", "flags", "known_at")


def train(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A model's file or a family.")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", min=1, help="Sessions.")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=VALUE, repeatable: a parameter of the family, or label=excess, every=10 …",
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option("--features", help="Names or patterns of scores, repeatable: 'momentum_*'."),
    ] = None,
    universe: Annotated[
        str,
        typer.Option(
            "--universe", help="members (at the date) or all (inflated by inclusion bias)."
        ),
    ] = "members",
    start: Annotated[str | None, typer.Option("--from", help="First date to predict.")] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Nothing known after this session is used.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A model's YAML that lies anywhere.", dir_okay=False),
    ] = None,
    root: options.Root = None,
    as_json: options.AsJson = False,
) -> None:
    """Train and judge a model of your own on the last run's data: live tables are not touched.

    Walk-forward with yearly refits, purged labels, books after costs. What it made lies under
    <root>/research/models; that it was tried counts against every later result.
    """
    from wealthos_pipeline.cli.output import emit, note
    from wealthos_pipeline.cli.published import day, open_last

    run = open_last(options.load(root))
    if universe not in ("members", "all"):
        raise ConfigError(f"--universe is members or all, found {universe!r}")
    spec = _spec(run, name, file, horizon, sets or [], features or [])
    first, last = day(start, "--from"), day(end, "--to") or run.manifest.as_of
    last = min(last, run.manifest.as_of)
    if first is not None and first >= last:
        raise ConfigError(f"--from {first} is not before --to {last}; swap them")
    made = _walk(run, spec, first, last, universe)
    where = _keep(run, made, first, last, universe)
    body = _body(made, where, universe, run)
    if as_json:
        emit(body)
        return
    _show(body)
    if made.absences:
        note(f"{len(made.absences)} fits could not be made; the last: {made.absences[-1]}")
    note(f"more of it: wealthos models evaluate {where.name}")


def _spec(
    run: Published,
    name: str | None,
    file: Path | None,
    horizon: int | None,
    sets: list[str],
    features: list[str],
) -> ModelSpec:
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.ml import research, specs
    from wealthos_pipeline.utils.written import pairs

    settings = run.settings.models
    if (name is None) == (file is None):
        raise ConfigError(
            "which model? Give its NAME, or --file with its YAML, and one of them only"
        )
    if file is not None:
        spec = _from_file(run, file)
    else:
        there = specs.available(settings)
        spec = there[find("model", str(name), there, "wealthos models families")]
    return research.changed(spec, horizon=horizon, params=pairs(sets), features=features)


def _from_file(run: Published, file: Path) -> ModelSpec:
    """The model of ``file``, read beside those of the folder of models."""
    import shutil

    from wealthos_pipeline.ml import specs
    from wealthos_pipeline.utils import written

    if not file.is_file():
        raise ConfigError(f"--file: there is no file {file}")
    settings = run.settings.models
    try:
        body = written.read(file)
    except ConfigError as error:
        raise ConfigError(f"--file {file} {error}") from None
    named = body.get("name") if isinstance(body, dict) else None
    with tempfile.TemporaryDirectory() as folder:
        own = specs.folder(settings)
        for other in written.files(own):
            try:
                said = written.read(other)
            except ConfigError:
                continue  # its own faults are told by `wealthos run`
            if isinstance(said, dict) and said.get("name") != named:
                shutil.copyfile(other, Path(folder) / f"beside_{other.name}")
        shutil.copyfile(file, Path(folder) / file.with_suffix(".yaml").name)
        read = settings.model_copy(update={"specs": Path(folder)})
        try:
            return specs.load(read, [str(named)])[0]
        except ConfigError as error:
            raise ConfigError(str(error).replace(folder, str(file.parent))) from None


def _walk(
    run: Published, spec: ModelSpec, first: date | None, last: date, universe: str
) -> Research:
    import polars as pl

    from wealthos_pipeline.cli.output import err
    from wealthos_pipeline.cli.published import calendar
    from wealthos_pipeline.cli.trials import count
    from wealthos_pipeline.data.processors import membership
    from wealthos_pipeline.factors import transforms
    from wealthos_pipeline.ml import research, trials
    from wealthos_pipeline.utils.threads import limit_threads

    settings, snapshot, sessions = run.settings, run.snapshot, calendar(run.settings)
    limit_threads(settings.cores)
    tables = [t for t in snapshot.tables() if t.startswith(transforms.SCORES)]
    if not tables:
        raise ModelError(
            "the last run has no scores of factors to learn from; `wealthos run` makes them"
        )
    held = {t: list(snapshot.contract(t).column_names) for t in tables}
    columns = [c for names in held.values() for c in names if c not in transforms.KEY]
    instruments = run.read("clean.instruments")
    equities = instruments.filter(pl.col("asset_class") == "equity")["instrument_id"].unique()
    prices = snapshot.read("clean.prices", columns=_BARS, end=last).filter(
        pl.col("instrument_id").is_in(equities.implode())
    )
    traded = membership.traded(prices).select("date", "instrument_id")
    members = run.read("clean.membership")
    who = membership.universe(traded, members) if universe == "members" else traded
    known = [run.lake.read(t) for t in ("record.trials", "raw.trials")]
    mine = trials.new(
        [trials.of_models([spec])], (), run_id=run.manifest.run_id, now=run.manifest.finished_at
    )
    tried = pl.concat([*known, mine])
    with err().status(f"{spec.name}: reading …") as status:
        made = research.walk(
            spec,
            [snapshot.scan(t, end=last) for t in tables],
            prices,
            who,
            sessions,
            settings.models,
            settings.factors,
            columns=columns,
            end=last,
            known_until=sessions.known_at(last),
            tried=tried.unique("trial", keep="first", maintain_order=True),
            beside=run.read("models.returns"),
            performance=run.read("factors.performance"),
            start=first,
            threads=settings.cores,
            say=lambda words: status.update(f"{spec.name}: {words} …"),
        )
    count(run, trials.of_models([spec], made.frames["returns"], made.frames["evaluation"]))
    return made


def _keep(run: Published, made: Research, first: date | None, last: date, universe: str) -> Path:
    """Write what was made into its folder; the same question asked again overwrites it."""
    from wealthos_pipeline.data.storage import research

    spec = made.spec
    asked = json.dumps([spec.spec_hash, universe, str(first), str(last)])
    digest = hashlib.blake2b(asked.encode(), digest_size=4).hexdigest()
    where = research.folder(run.settings.root) / f"{spec.name}-{digest}"
    body = {
        "run_kind": "research",
        "model": spec.name,
        "spec": json.loads(spec.definition),
        "spec_hash": spec.spec_hash,
        "universe": universe,
        "from": None if first is None else str(first),
        "to": str(last),
        "run_id": run.manifest.run_id,
        "code_version": run.manifest.code_version,
        "absences": list(made.absences),
    }
    research.write(where, made.frames, body)
    return where


def _body(made: Research, where: Path, universe: str, run: Published) -> dict[str, Any]:
    dates = made.frames["evaluation"]["date"]
    return {
        "model": made.spec.name,
        "training": where.name,
        "folder": str(where),
        "universe": universe,
        "run_id": run.manifest.run_id,
        "first": dates.min(),
        "last": dates.max(),
        "fits": made.frames["registry"].height,
        "absences": list(made.absences),
        "summary": made.summary,
    }


def _show(body: dict[str, Any]) -> None:
    from wealthos_pipeline.cli.models_evaluate import headline
    from wealthos_pipeline.cli.output import facts, note

    biased = " (inflated by inclusion bias)" if body["universe"] == "all" else " at the date"
    facts(
        [
            ("judged", f"{body['first']} … {body['last']}, {body['fits']} fits"),
            ("universe", f"{body['universe']}{biased}"),
            *headline(body["summary"]),
        ],
        title=f"{body['model']}, a training",
    )
    note(f"written to {body['folder']}")
