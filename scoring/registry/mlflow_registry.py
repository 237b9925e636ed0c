"""The registry in MLflow: a server, or a database directly. The one module that imports mlflow.

A bundle is an ordinary MLflow model version as well: it loads with ``mlflow.pyfunc.load_model`` through the loader
module ``scoring.registry.pyfunc``, and never through a pickled Python model. Only registering needs more than
mlflow-skinny.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# MLflow starts its telemetry when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.artifacts
import msgspec
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy.exc import SQLAlchemyError

from scoring import __version__
from scoring.contract.clock import from_epoch_ms, rfc3339
from scoring.contract.digest import digest_of
from scoring.contract.errors import BundleRejected, ConfigurationError, Unavailable
from scoring.contract.manifest import MANIFEST_FILE, Manifest
from scoring.contract.manifest_rules import MAXIMUM_BUNDLE_BYTES, MAXIMUM_FILES
from scoring.registry.address import artifact_location, checked_name, checked_version, require_no_alias, shown
from scoring.registry.files import appearing, copy_files, read_manifest
from scoring.registry.port import DIGEST_TAG, RunInfo, VersionInfo
from scoring.scorer.bundle import MAXIMUM_MANIFEST_BYTES

LOADER_MODULE = "scoring.registry.pyfunc"
# Tag of ``register`` that names an MLflow run; the version then belongs to it.
RUN_TAG = "baton.mlflow_run"
# Name of the bundle's folder below ``data/`` of the model version.
BUNDLE_FOLDER = "bundle"
# What MLflow may put beside the bundle's own files, the manifest and folders among it.
SURROUNDING_FILES = 16
# Finds the MLflow run of a pipeline run and its evidence again.
RUN_KEY_TAG = "baton.run_key"
# MLflow's own defaults keep a caller waiting for minutes behind a server that is away, draw progress bars, and print
# links that hold the password. A variable that is set wins.
_MANNERS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_ABSENT_ALIAS = {_MISSING, "INVALID_PARAMETER_VALUE"}
_REFUSED_CODES = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED", "INVALID_PARAMETER_VALUE"}
_REFUSED_STATUS = {401, 403}


class MlflowRegistry:
    """Keeps bundles as versions of MLflow's registered models.

    Args:
        uri: MLflow's tracking URI; a user and password in it are used for basic authentication.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        with _mlflow_errors(uri):  # a database is opened here, and made where it is not there
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> str:
        """Log the bundle as a model and make it a new version, or find the version that it has already.

        Where ``tags`` names an MLflow run under RUN_TAG, the version belongs to that run; otherwise it gets one of its
        own, which shows the manifest's metrics.
        """
        manifest, digest = read_manifest(folder, model)
        with self._session():
            for known in self._versions(model):
                if known.manifest_digest == digest:
                    return known.version
            run = self._run(model, manifest, digest, tags.get(RUN_TAG))
            logged = self._log(run, folder)
            self._ensure_model(model)
            # Tags travel with the creation, so that there is never a version without its digest.
            made = self._client.create_model_version(
                model,
                source=logged.artifact_location,  # models:/… would be looked up through MLflow's global settings
                run_id=run.info.run_id,
                tags={**tags, DIGEST_TAG: digest},
                model_id=logged.model_id,
            )
        return str(made.version)

    def fetch(self, model: str, version: str, target: Path) -> None:
        """Download the version's data and put the bundle's own files into the new folder ``target``."""
        with self._session(), tempfile.TemporaryDirectory(prefix="baton-fetch-") as scratch:
            info = self._require(model, version)
            stored = self._client.get_model_version_download_uri(model, version)
            self._require_room_enough(f"{stored}/data", f"version {version} of {model}")
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{stored}/data", dst_path=scratch, tracking_uri=self._uri, registry_uri=self._uri
            )
            found = [path.parent for path in Path(scratch).rglob(MANIFEST_FILE)]
            if not found and info.manifest_digest and not any(Path(scratch).rglob("*.*")):
                raise Unavailable(
                    f"registry {shown(self._uri)}: the files of version {version} of {model} are not there"
                )
            if len(found) != 1:
                raise BundleRejected(f"version {version} of {model} holds {len(found)} bundles; it must hold one")
            try:
                with appearing(target) as staging:
                    copy_files(found[0], staging)
            except FileExistsError:
                return

    def _require_room_enough(self, stored: str, what: str) -> None:
        """Nothing is downloaded that is too large for a bundle, as far as the store says how large it is.

        Raises:
            BundleRejected: it holds too many files or too many bytes.
        """
        store = get_artifact_repository(stored, tracking_uri=self._uri, registry_uri=self._uri)
        folders: list[str | None] = [None]
        entries = size_bytes = 0
        room_bytes = MAXIMUM_BUNDLE_BYTES + MAXIMUM_MANIFEST_BYTES
        while folders:
            for found in store.list_artifacts(folders.pop()):
                entries, size_bytes = entries + 1, size_bytes + (found.file_size or 0)
                if found.is_dir:
                    folders.append(found.path)
            if entries > MAXIMUM_FILES + SURROUNDING_FILES or size_bytes > room_bytes:
                raise BundleRejected(
                    f"{what}: {entries} files or folders and {size_bytes} bytes, at most {MAXIMUM_FILES} files and "
                    f"{MAXIMUM_BUNDLE_BYTES} bytes are allowed"
                )

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point ``alias`` at ``version``."""
        with self._session():
            self._require(model, version)
            self._client.set_registered_model_alias(model, alias, version)

    def remove_alias(self, model: str, alias: str) -> None:
        """Take ``alias`` away."""
        with self._session():
            try:
                self._client.delete_registered_model_alias(model, alias)
            except MlflowException as error:
                if error.error_code != _MISSING:
                    raise

    def alias(self, model: str, alias: str) -> str | None:
        """The version that ``alias`` points at, or None."""
        with self._session():
            try:
                return str(self._client.get_model_version_by_alias(model, alias).version)
            except MlflowException as error:
                if error.error_code in _ABSENT_ALIAS:
                    return None
                raise

    def aliases(self, model: str) -> Mapping[str, str]:
        """Every alias with the version that it points at."""
        checked_name(model, "a model")
        with self._session():
            return self._aliases(model)

    def remove(self, model: str, version: str) -> None:
        """Delete a version, the logged model behind it and its files; the run with its evidence stays.

        A store that cannot delete files keeps them until ``mlflow gc`` is run.
        """
        with self._session():
            try:
                found = self._client.get_model_version(checked_name(model, "a model"), checked_version(version))
            except MlflowException as error:
                if error.error_code == _MISSING:
                    return
                raise
            require_no_alias(self._aliases(model), model, version)
            stored = self._client.get_model_version_download_uri(model, version)
            # The version goes first: one without its files would be found again by a retry of its run.
            self._client.delete_model_version(model, version)
            if found.model_id:
                self._client.delete_logged_model(found.model_id)
            with suppress(NotImplementedError, OSError):
                get_artifact_repository(stored, tracking_uri=self._uri, registry_uri=self._uri).delete_artifacts()

    def versions(self, model: str) -> list[VersionInfo]:
        """All versions, oldest first."""
        with self._session():
            return self._versions(model)

    def record(
        self,
        model: str,
        run_id: str,
        *,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, bytes] | None = None,
    ) -> str:
        """Keep the evidence of the pipeline run ``run_id`` as an MLflow run; a retry finds the one that it made.

        A retry with other parameters or metrics (the definition or the data changed) makes a run of its own: MLflow
        changes no parameter, and a version of the first try keeps the evidence that it was made with.

        Args:
            artifacts: files of the run by name, such as pictures and tables; those of an earlier try are replaced.

        Returns:
            MLflow's id of the run; under RUN_TAG it makes a version belong to the run.
        """
        # A digest, because a run id may hold any character, a filter not.
        key = digest_of(msgspec.json.encode([run_id, sorted(params.items()), sorted(metrics.items())]))
        with self._session():
            experiment = self._experiment(model)
            found = self._client.search_runs([experiment], f"tags.`{RUN_KEY_TAG}` = '{key}'", max_results=1)
            run = found[0] if found else self._client.create_run(experiment, run_name=run_id, tags={RUN_KEY_TAG: key})
            self._client.log_batch(
                run.info.run_id,
                metrics=[Metric(name, value, run.info.start_time, 0) for name, value in metrics.items()],
                params=[Param(name, text) for name, text in params.items()],
                tags=[RunTag(name, text) for name, text in tags.items()],
            )
            self._log_files(str(run.info.run_id), artifacts or {})
            self._client.update_run(run.info.run_id, status="FINISHED")
        return str(run.info.run_id)

    def _log_files(self, run_id: str, artifacts: Mapping[str, bytes]) -> None:
        if not artifacts:
            return
        with tempfile.TemporaryDirectory(prefix="baton-artifacts-") as scratch:
            for name, content in artifacts.items():
                path = Path(scratch) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run_id, scratch)

    def _aliases(self, model: str) -> Mapping[str, str]:
        try:
            found = self._client.get_registered_model(model).aliases
        except MlflowException as error:
            if error.error_code == _MISSING:
                return {}
            raise
        return {name: str(version) for name, version in sorted(found.items())}

    def tag_run(self, registry_run: str, tags: Mapping[str, str]) -> None:
        """Add tags to a run that ``record`` made, or set them anew."""
        with self._session():
            self._client.log_batch(registry_run, tags=[RunTag(name, text) for name, text in tags.items()])

    def recent_runs(self, model: str, limit: int) -> list[RunInfo]:
        """The newest runs that ``record`` made, newest first; none of a model that was never trained here."""
        checked_name(model, "a model")
        with self._session():
            known = self._client.get_experiment_by_name(_experiment_name(model))
            if known is None:
                return []
            found = self._client.search_runs(
                [known.experiment_id], f"tags.`{RUN_KEY_TAG}` != ''", max_results=limit, order_by=["start_time DESC"]
            )
        return [_run_info(run) for run in found]

    def _versions(self, model: str) -> list[VersionInfo]:
        checked_name(model, "a model")  # it goes into a filter
        found: list[VersionInfo] = []
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name = '{model}'", max_results=200, page_token=token)
            found += [_info(version) for version in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda info: int(info.version))

    def _require(self, model: str, version: str) -> VersionInfo:
        checked_name(model, "a model")
        checked_version(version)
        try:
            return _info(self._client.get_model_version(model, version))
        except MlflowException as error:
            if error.error_code == _MISSING:
                raise ConfigurationError(
                    f"there is no version {version} of {model} in {shown(self._uri)}; "
                    f"`baton versions {model}` lists them"
                ) from error
            raise

    def _ensure_model(self, model: str) -> None:
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _run(self, model: str, manifest: Manifest, digest: str, run_id: str | None) -> Any:
        if run_id is not None:
            return self._client.get_run(run_id)
        run = self._client.create_run(self._experiment(model), run_name=f"{model} {digest[:12]}")
        snapshot = manifest.snapshot
        params = {
            "estimator": manifest.estimator[:500],
            "snapshot_sha256": snapshot.sha256,
            "data_start": rfc3339(snapshot.start),
            "data_end": rfc3339(snapshot.end),
        }
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, run.info.start_time, 0) for name, value in manifest.metrics.items()],
            params=[Param(name, text) for name, text in params.items()],
        )
        self._client.update_run(run.info.run_id, status="FINISHED")
        return run

    def _log(self, run: Any, folder: Path) -> Any:
        """Log the bundle as a model of the run."""
        save_model = _save_model()
        with tempfile.TemporaryDirectory(prefix="baton-register-") as scratch:
            data, saved = Path(scratch) / BUNDLE_FOLDER, Path(scratch) / "saved"
            data.mkdir()
            copy_files(folder, data)
            save_model(
                saved,
                loader_module=LOADER_MODULE,
                data_path=str(data),
                pip_requirements=[f"baton=={__version__}"],  # without the list MLflow spends seconds on guessing it
            )
            made = self._client.create_logged_model(
                run.info.experiment_id, name=BUNDLE_FOLDER, source_run_id=run.info.run_id
            )
            self._client.log_model_artifacts(made.model_id, str(saved))
        return self._client.finalize_logged_model(made.model_id, "READY")

    def _experiment(self, model: str) -> str:
        name = _experiment_name(model)
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=artifact_location(self._uri)))
        except MlflowException:
            known = self._client.get_experiment_by_name(name)  # another process may have been quicker
            if known is None:
                raise
            return str(known.experiment_id)

    @contextmanager
    def _session(self) -> Iterator[None]:
        """Bounded patience and silence for the time of a call, and MLflow's errors as Baton's."""
        unset = [name for name in _MANNERS if name not in os.environ]
        os.environ.update({name: _MANNERS[name] for name in unset})
        try:
            with _mlflow_errors(self._uri):
                yield
        finally:
            for name in unset:
                os.environ.pop(name, None)


def _save_model() -> Callable[..., object]:
    """MLflow's own; it needs pandas, which the scoring side has not: that one fetches, and never registers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing it warns about its own type hints
            import mlflow.pyfunc  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"registering needs what baton[training] installs: {error}") from error
    return mlflow.pyfunc.save_model  # type: ignore[no-any-return]


def _experiment_name(model: str) -> str:
    return f"baton/{model}"


def _run_info(run: Any) -> RunInfo:
    return RunInfo(
        run_id=str(run.info.run_id),
        started_at=from_epoch_ms(run.info.start_time),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def _info(version: Any) -> VersionInfo:
    tags = dict(version.tags or {})
    return VersionInfo(
        model=version.name,
        version=str(version.version),
        created_at=from_epoch_ms(version.creation_timestamp),
        manifest_digest=tags.get(DIGEST_TAG),
        tags=tags,
    )


@contextmanager
def _mlflow_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        refused = error.error_code in _REFUSED_CODES
        raise (ConfigurationError if refused else Unavailable)(_sentence(uri, error)) from error
    except requests.HTTPError as error:
        refused = error.response is not None and error.response.status_code in _REFUSED_STATUS
        raise (ConfigurationError if refused else Unavailable)(_sentence(uri, error)) from error
    except (requests.RequestException, SQLAlchemyError, OSError) as error:
        raise Unavailable(_sentence(uri, error)) from error


def _sentence(uri: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"registry {shown(uri)}: {text.replace(uri, shown(uri))}"
