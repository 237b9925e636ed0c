"""Choose the registry's adapter by its address."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from scoring.contract.errors import ConfigurationError
from scoring.registry.folder import FolderRegistry
from scoring.registry.port import Registry

_MLFLOW_SCHEMES = {"http", "https", "sqlite", "postgresql", "mysql", "mssql"}


def open_registry(uri: str) -> Registry:
    """The registry at ``uri``: ``file:///…`` is a folder of bundles, anything else MLflow's tracking URI.

    Opening MLflow imports it, which takes seconds and a hundred megabytes: a worker fetches through
    ``scoring.registry.fetch`` instead.

    Raises:
        ConfigurationError: the address is of no known kind, or MLflow cannot open it.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise ConfigurationError(f"registry: {uri} must be file:///absolute/path")
        return FolderRegistry(Path(unquote(parts.path)))
    if parts.scheme.split("+")[0] not in _MLFLOW_SCHEMES:
        raise ConfigurationError(
            f"registry: {uri!r} is neither file:///absolute/path nor a tracking URI of MLflow (https://…, sqlite:////…)"
        )
    from scoring.registry.mlflow_registry import MlflowRegistry  # noqa: PLC0415 - see the docstring

    return MlflowRegistry(uri)
