"""Settings: one typed object. Defaults < ``wealthos.toml`` < ``WEALTHOS_*`` < flags.

Nested values are written ``WEALTHOS_MODELS__HORIZON=5``. Secrets come from the environment only.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from wealthos_pipeline.core.errors import ConfigError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(_Part):
    """Where the data come from. Paths are used by ``files`` only."""

    name: str = "sample"
    path: Path | None = Field(None, description="panel of prices: Parquet or CSV, wide or long")
    sectors: Path | None = Field(None, description="CSV: symbol, sector")
    membership: Path | None = Field(None, description="CSV: ticker, start, end (intervals)")
    rates: Path | None = Field(None, description="CSV or folder of CSVs: date, one column a tenor")
    vix: Path | None = Field(None, description="CSV: date, …, close")
    exchange: str = "XNYS"
    currency: str = "USD"
    adjusted: bool | None = Field(None, description="closes are back-adjusted; None: find out")
    symbols: tuple[str, ...] = Field((), description="of a vendor; empty: the universe file")
    universe: Path | None = Field(
        None, description="CSV with a column symbol; None: data/inputs/universe.csv"
    )
    also: tuple[str, ...] = Field((), description="further sources, e.g. treasury, fred")
    gives: tuple[str, ...] | None = Field(
        None, description="prices, profile, fundamentals, …; None: what the vendor gives"
    )
    fx: Path | None = Field(None, description="CSV: date, one column a pair such as GBPUSD")


class FetchSettings(_Part):
    """How vendors are asked. None: what the vendor's module declares."""

    per_minute: float | None = Field(None, gt=0, description="requests a minute")
    concurrency: int | None = Field(None, ge=1, description="requests under way at once")
    retries: int | None = Field(None, ge=0)
    timeout_seconds: float | None = Field(None, gt=0, description="of one request")
    patience_seconds: float = Field(300.0, ge=0, description="longest waiting for one request")
    overlap_sessions: int = Field(10, ge=1, description="fetched again, to notice restatements")
    base_url: str | None = Field(None, description="another address for the vendor, e.g. a replay")


class KeySettings(_Part):
    """Keys of vendors. From the environment only: ``WEALTHOS_KEYS__FINNHUB`` and so on."""

    finnhub: SecretStr | None = None
    alpha_vantage: SecretStr | None = None
    fred: SecretStr | None = None

    def of(self, vendor: str) -> str | None:
        """The key of a vendor; None where it is not set, or none is foreseen."""
        secret = getattr(self, vendor, None)
        return (secret.get_secret_value() or None) if isinstance(secret, SecretStr) else None

    def lacks(self, vendor: str) -> bool:
        """Whether the vendor needs a key that is not set."""
        return vendor in type(self).model_fields and self.of(vendor) is None


class CleaningSettings(_Part):
    """Thresholds of the cleaning rules (``data.processors.rules``), and which are switched off."""

    off: tuple[str, ...] = Field((), description="names of rules that are not applied")
    spike_growth: float = Field(
        2.5, gt=1, description="one-bar growth from which it may be a spike"
    )
    spike_return: float = Field(
        0.15, gt=0, lt=1, description="distance to the bar before, after it"
    )
    stale_sessions: int = Field(
        5, ge=2, description="unchanged closes in a row; twice as many without volumes"
    )
    volume_spike: float = Field(30.0, gt=1, description="multiple of the median of 20 sessions")
    delisted_after: int = Field(20, ge=1, description="sessions without a bar")
    vendor_gap: float = Field(0.5, gt=0, le=1, description="share of names missing at once")
    fx_stale_sessions: int = Field(8, ge=0, description="how old a rate may be, in sessions")


class CheckSettings(_Part):
    """Bounds of the data checks that depend on the universe."""

    members_missing: float = Field(
        0.1, gt=0, le=1, description="share of members without a bar above which a check warns"
    )


class TimeSettings(_Part):
    """Clock rules. The lag is added to the official close to give ``known_at``."""

    known_lag_minutes: int = Field(30, ge=0)
    start: date | None = Field(None, description="first session to use; None: all")
    end: date | None = Field(None, description="last session to use; None: all")


class FactorSettings(_Part):
    """Which factor sets are computed and how they are judged."""

    sets: tuple[str, ...] = ("core",)
    own: Path | None = Field(None, description="folder of own factors; empty: data/inputs/factors")
    horizons: tuple[int, ...] = (5, 20)
    winsor_mads: float = Field(5.0, gt=0)
    min_names: int = Field(5, ge=2, description="fewer names on a date: no cross-section")
    min_sector_names: int = Field(3, ge=1)
    memory_mb: int = Field(
        1024, ge=1, description="values of a family that are held at once; more is made by dates"
    )
    costs_bp: float = Field(10.0, ge=0, description="one-way, of what a spread trades")
    base: tuple[str, ...] = Field((), description="marginal ICs are beside these; empty: clusters'")


class ModelSettings(_Part):
    """Walk-forward training. Windows in sessions."""

    names: tuple[str, ...] = ("ridge", "lightgbm")
    specs: Path | None = Field(None, description="folder of YAML; None: data/inputs/models")
    promotion: Path | None = Field(None, description="YAML; None: data/inputs/promotion.yaml")
    horizon: int = Field(20, ge=1)
    train_sessions: int = Field(2520, ge=60)
    min_train_sessions: int = Field(756, ge=60)
    every: int = Field(5, ge=1, description="train on slots divisible by this")
    refit_history: Literal["month", "quarter", "year"] = "year"
    refit_live: Literal["week", "month"] = "week"
    ridge_alpha: float = Field(10.0, gt=0)
    lightgbm_trees: int = Field(100, ge=1)
    seed: int = 7


class PortfolioSettings(_Part):
    """Risk model and backtest. Windows in sessions."""

    mandates: Path | None = Field(None, description="folder of YAML; None: data/inputs/mandates")
    holdings: Path | None = Field(None, description="folder of CSV; None: data/inputs/holdings")
    fills: Path | None = Field(None, description="folder of CSV; None: data/inputs/fills")
    compliance: Literal["warn", "error"] = Field(
        "warn", description="severity of the check that targets keep every limit"
    )
    stale_sessions: int = Field(5, ge=0, description="a price older than that is stale")
    risk_sessions: int = Field(504, ge=60)
    risk_half_life: int = Field(126, ge=5)
    risk_model: Literal["statistical", "fundamental", "ledoit_wolf", "oas", "ewma"] = Field(
        "statistical", description="ledoit_wolf or oas for universes of up to some 50 names"
    )
    risk_factors: int = Field(
        20, ge=1, description="statistical: at most; fewer on small universes"
    )
    risk_denoise: bool = Field(
        False, description="statistical: only factors above the Marchenko–Pastur edge"
    )
    risk_styles: tuple[str, ...] = Field(
        (
            "beta_252", "volatility_60", "momentum_12_1", "reversal_1m", "reversal_36_12",
            "log_dollar_volume_63", "dividend_yield_12m", "high_52w", "skewness_252",
            "market_correlation_252",
        ),
        description="fundamental: factors whose scores are exposures; missing ones are left out",
    )  # fmt: skip
    risk_volatility_half_life: int = Field(
        84, ge=5, description="fundamental: of factor and specific variances, in sessions"
    )
    risk_correlation_half_life: int = Field(
        252, ge=5, description="fundamental: of factor correlations, in sessions"
    )
    risk_volatility_lags: int = Field(5, ge=0, description="fundamental: Newey–West, of variances")
    risk_correlation_lags: int = Field(
        2, ge=0, description="fundamental: Newey–West, of correlations"
    )
    var_sessions: int = Field(504, ge=60)
    scenarios: Path | None = Field(None, description="folder of YAML; None: data/inputs/scenarios")
    liquidity_participation: float = Field(
        0.2, gt=0, le=1, description="share of the daily dollar volume that a sale takes"
    )
    ic_sessions: int = Field(1260, ge=60)
    ic_prior_sessions: float = Field(250.0, gt=0, description="shrinks the IC towards 0")


class MailSettings(_Part):
    """Where the report goes. Without ``host`` the message is written and not sent."""

    sender: str = "wealthos@localhost"
    to: tuple[str, ...] = ("portfolio-manager@localhost",)
    host: str | None = None
    port: int = 587
    user: str | None = None
    password: SecretStr | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    attach_interactive: bool = Field(True, description="attach the full page, some 2.5 MB zipped")
    timeout_seconds: float = 30.0


class MachineSettings(_Part):
    """Budgets of the machine. ``threads`` 0 means all cores."""

    threads: int = Field(0, ge=0)
    block_mb: int = Field(512, ge=16, description="frames larger than this are written in blocks")


class Settings(BaseSettings):
    """Everything that can be set. See ``wealthos doctor`` for where each value came from."""

    model_config = SettingsConfigDict(
        env_prefix="WEALTHOS_",
        env_nested_delimiter="__",
        toml_file="wealthos.toml",
        extra="forbid",
        frozen=True,
    )

    root: Path = Path("data")
    reports: Path = Path("reports")
    source: SourceSettings = SourceSettings()
    fetch: FetchSettings = FetchSettings()
    keys: KeySettings = KeySettings()
    cleaning: CleaningSettings = CleaningSettings()
    checks: CheckSettings = CheckSettings()
    time: TimeSettings = TimeSettings()
    factors: FactorSettings = FactorSettings()
    models: ModelSettings = ModelSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    mail: MailSettings = MailSettings()
    machine: MachineSettings = MachineSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def public(self) -> dict[str, Any]:
        """The settings that can change a number: no secrets, paths, mail or machine budgets."""
        body = self.model_dump(
            mode="json", exclude={"root", "reports", "mail", "machine", "fetch", "keys"}
        )
        for part, names in _PATHS.items():
            for name in names:
                body[part].pop(name, None)
        return body

    @property
    def config_hash(self) -> str:
        """16 hex digits over ``public()``."""
        text = json.dumps(self.public(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def cores(self) -> int:
        """Threads to use."""
        return self.machine.threads or len(os.sched_getaffinity(0))


_PATHS = {
    "source": ("path", "sectors", "membership", "rates", "vix", "universe", "fx"),
    "models": ("specs", "promotion"),
    "portfolio": ("mandates", "holdings", "fills", "scenarios"),
}


def project_root() -> Path:
    """The checkout that this program runs from."""
    return Path(__file__).resolve().parents[2]


def inputs_dir() -> Path:
    """Folder of what people write: universe, mandates, holdings, own factors."""
    return project_root() / "data" / "inputs"


def load_settings(**overrides: Any) -> Settings:
    """Settings from all layers; ``overrides`` (nested dicts) win. ConfigError lists every fault."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = "\n".join(
            f"  - {'.'.join(map(str, e['loc']))}: {e['msg']} (found {e['input']!r})"
            for e in error.errors(include_url=False, include_context=False)
            if "password" not in e["loc"] and "keys" not in e["loc"]
        )
        raise ConfigError(
            f"the settings cannot be used:\n{faults}\nSee `wealthos doctor` for where each came from."
        ) from None
    except ValueError as error:
        raise ConfigError(f"wealthos.toml cannot be read: {error}") from error
