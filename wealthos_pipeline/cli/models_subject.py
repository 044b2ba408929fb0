"""What the commands on models look at: a model of the last run, or a training of a quant's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wealthos_pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from wealthos_pipeline.cli.published import Published
    from wealthos_pipeline.utils.config import Settings


@dataclass(frozen=True)
class Subject:
    """A model with the tables of the layer ``models`` that tell of it. training: what a training's
    ``result.json`` says; None for a model of the run."""

    name: str
    model: str
    run: Published
    training: dict[str, Any] | None

    def read(self, table: str) -> pl.DataFrame:
        """Its rows of ``models.<table>``; of returns also those of 1/N and the benchmarks."""
        import polars as pl

        from wealthos_pipeline.core.data import contract
        from wealthos_pipeline.data.storage import research

        if self.training is None:
            rows = self.run.read(f"models.{table}")
        else:
            found = research.read(self.run.settings.root, self.name, table)
            rows = contract(f"models.{table}").empty() if found is None else found
        return rows if table == "returns" else rows.filter(pl.col("model") == self.model)

    @property
    def horizons(self) -> list[int]:
        """Horizons that it was judged at."""
        found: list[int] = self.read("evaluation")["horizon"].unique().sort().to_list()
        return found


def known(run: Published) -> list[str]:
    """Every name that can be asked for: models of the run, then trainings."""
    from wealthos_pipeline.data.storage import research

    models = run.read("models.registry")["model"].unique().sort().to_list()
    return [*models, *research.trainings(run.settings.root)]


def subject(run: Published, name: str, hint: str = "wealthos models list") -> Subject:
    """The model or training ``name``; a training also by its model's name with ``research/`` before it.

    ConfigError lists what comes close. ModelError where the fit that it would be read from is damaged or of
    another version.
    """
    from wealthos_pipeline.cli.lookup import find
    from wealthos_pipeline.data.storage import research
    from wealthos_pipeline.ml import integrity

    trainings = research.trainings(run.settings.root)
    models = run.read("models.registry")["model"].unique().to_list()
    found = find("model", name, [*models, *trainings], hint)
    if found in models:
        made = Subject(found, found, run, None)
    else:
        made = Subject(found, str(trainings[found]["model"]), run, trainings[found])
    newest = made.read("registry").sort("refit_date", "model_id").tail(1)
    for fit in newest.iter_rows(named=True):
        integrity.check(fit)
    return made


def at_horizon(made: Subject, horizon: int | None) -> int:
    """The horizon asked for, or the only one; ConfigError where it was not judged there."""
    there = made.horizons
    if not there:
        raise ConfigError(
            f"nothing is known of {made.name} yet: none of its predictions has an outcome. Too little "
            "history, or a horizon that has not passed."
        )
    if horizon is None:
        return there[0]
    if horizon not in there:
        raise ConfigError(
            f"{made.name} was not judged at {horizon} sessions but at {', '.join(map(str, there))}; "
            f"`wealthos models train {made.model} --horizon {horizon}` does"
        )
    return horizon


def declared(settings: Settings) -> list[str]:
    """Models that can be trained: those of files, and families."""
    from wealthos_pipeline.ml import specs

    return sorted(specs.available(settings.models))
