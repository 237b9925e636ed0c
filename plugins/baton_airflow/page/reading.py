"""What the page reads: the ledger, the registry, the workers and the dead letters, each by itself.

MLflow, which takes seconds, is imported when something is first read.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from baton_airflow.page.letters import Letter, newest_letters
from baton_airflow.page.listening import Listener
from baton_airflow.page.source import Source
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.registry.open import open_registry
from scoring.registry.port import RunInfo, VersionInfo
from scoring.settings import Settings, read_settings

# A year of weekly retrains.
RUNS = 60
# As many of the newest dead letters are looked at.
LETTERS = 100
_LETTERS_WITHIN_S = 2.5

History = Mapping[str, tuple[LedgerEntry, ...]]


class Kept(msgspec.Struct, frozen=True):
    """What the registry holds of a model.

    Attributes:
        runs: newest first; None where the registry is a folder, which keeps no runs.
    """

    versions: tuple[VersionInfo, ...]
    runs: tuple[RunInfo, ...] | None


class Letters(msgspec.Struct, frozen=True):
    """The newest dead letters of a model.

    Attributes:
        total: how many the topic holds.
        reasons: of those that were looked at.
        topic: where they were looked for.
        present: whether there is such a topic.
    """

    total: int
    newest: tuple[Letter, ...]
    reasons: Mapping[str, int]
    topic: str = ""
    present: bool = True


def read_history(settings: Settings) -> History:
    """Every model of the ledger with its entries, oldest first; the ledger is never made here."""
    ledger = Ledger.open(settings.need_ledger_url(), migrating=False)
    return {model: tuple(ledger.entries(model)) for model in ledger.models()}


def read_registry(settings: Settings, model: str) -> Kept:
    """The versions of a model and its newest runs."""
    uri = settings.need_registry_uri()
    registry = open_registry(uri)
    versions = tuple(registry.versions(model))
    if uri.startswith("file:"):
        return Kept(versions, None)
    from scoring.registry.mlflow_registry import MlflowRegistry  # noqa: PLC0415

    return Kept(versions, tuple(MlflowRegistry(uri).recent_runs(model, RUNS)))


def read_letters(settings: Settings, topic: str) -> Letters:
    """The newest dead letters of a topic, if there is one."""
    read = newest_letters(settings.need_kafka(), topic, LETTERS, _LETTERS_WITHIN_S)
    if read is None:
        return Letters(0, (), {}, topic, present=False)
    total, newest = read
    return Letters(total, tuple(newest), Counter(each.letter.reason.value for each in newest), topic)


class Sources:
    """Everything that is read, as the page asks for it.

    Args:
        settings: read anew with each reading.
    """

    def __init__(self, settings: Callable[[], Settings] = read_settings) -> None:
        self.history = Source("the ledger", lambda _: read_history(settings()), fresh_s=2.0)
        self.registry = Source("the registry", lambda model: read_registry(settings(), model), fresh_s=15.0)
        self.letters = Source("the dead letters", lambda topic: read_letters(settings(), topic), fresh_s=10.0)
        self.crew = Source("the broker", Listener(settings).look, fresh_s=1.0, patience_s=6.0)

    def decided(self, model: str) -> None:
        """Something was decided about a model: read it anew."""
        self.history.forget()
        self.registry.forget(model)
