"""The errors of the library, one tree.

::

    WealthOSError                  everything below; a message names the thing, what was found,
    │                              what was expected and the next step
    ├── ConfigError                settings, a mandate or a universe that cannot be used
    ├── SourceError                a vendor or a file gave something that cannot be read
    │   ├── PanelError             a user's panel: every fault found is listed
    │   ├── TransientError         the vendor may answer if asked again; carries retry_after
    │   ├── UnknownSymbolError     the vendor does not know the symbol
    │   └── AccessError            the key is missing or refused, or the plan does not allow this
    ├── ContractError              a frame does not fit its table's contract
    ├── StorageError               the lake, the manifest or the warehouse
    │   ├── LockedError            another run holds the root's lock
    │   ├── NoManifestError        nothing has been published yet
    │   └── NewerLakeError         the lake was written by a newer program
    ├── CheckError                 a blocking data check failed
    ├── FactorError                a factor's definition or expression is wrong
    ├── ModelError                 a model cannot be fitted or used
    ├── MailError                  the report could not be handed to a mail server
    └── PortfolioError             optimisation, risk or backtest
        └── InfeasibleError        constraints contradict each other; carries the explanation

Each class has an ``exit_code``, which the command hands to the shell.
"""

from __future__ import annotations

from collections.abc import Sequence


class WealthOSError(Exception):
    """Root of all errors that the library raises on purpose."""

    exit_code = 1


class ConfigError(WealthOSError):
    """Settings, a mandate or a universe that cannot be used."""

    exit_code = 2


class SourceError(WealthOSError):
    """A vendor or a file gave something that cannot be read."""

    exit_code = 3


class PanelError(SourceError):
    """A user's panel cannot be read; ``faults`` lists everything that is wrong with it."""

    def __init__(self, path: str, faults: Sequence[str]) -> None:
        self.path = path
        self.faults = tuple(faults)
        lines = "\n".join(f"  {i}. {fault}" for i, fault in enumerate(self.faults, 1))
        super().__init__(f"{path} cannot be used as a price panel:\n{lines}")


class TransientError(SourceError):
    """The vendor could not answer now; asked again it may. ``retry_after``: seconds that it named."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownSymbolError(SourceError):
    """The vendor does not know the symbol, or has nothing for it."""


class AccessError(SourceError):
    """The key is missing or refused, or the plan does not allow this; never carries the key."""


class ContractError(WealthOSError):
    """A frame does not fit its table's contract."""

    exit_code = 4


class StorageError(WealthOSError):
    """The lake, the manifest or the warehouse."""

    exit_code = 5


class LockedError(StorageError):
    """Another run holds the lock of this root."""

    exit_code = 6


class NoManifestError(StorageError):
    """Nothing has been published under this root yet."""

    exit_code = 7


class NewerLakeError(StorageError):
    """The lake was written by a newer program than this one."""


class CheckError(WealthOSError):
    """A blocking data check failed."""

    exit_code = 8


class FactorError(WealthOSError):
    """A factor's definition or expression is wrong."""

    exit_code = 9


class ModelError(WealthOSError):
    """A model cannot be fitted or used."""

    exit_code = 10


class MailError(WealthOSError):
    """The report could not be handed to a mail server; never carries a secret."""

    exit_code = 13


class PortfolioError(WealthOSError):
    """Optimisation, risk or backtest."""

    exit_code = 11


class InfeasibleError(PortfolioError):
    """The constraints of a mandate contradict each other.

    ``conflicts`` holds one sentence a constraint, with its value and the least relaxation.
    """

    exit_code = 12

    def __init__(self, mandate: str, conflicts: Sequence[str]) -> None:
        self.mandate = mandate
        self.conflicts = tuple(conflicts)
        super().__init__(
            f"mandate {mandate!r} cannot be met:\n" + "\n".join(f"  - {c}" for c in self.conflicts)
        )
