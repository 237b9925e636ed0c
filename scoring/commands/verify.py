"""``baton verify``: hold a bundle against its digests, load it, and check its golden rows."""

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from scoring.console import EXIT_REFUSED, echo_json, json_option, open_ledger
from scoring.contract.digest import Digest
from scoring.contract.errors import BundleRejected, ConfigurationError
from scoring.registry.open import open_registry
from scoring.scorer.bundle import Bundle, open_bundle
from scoring.scorer.golden import check_golden
from scoring.scorer.scorer import Scorer
from scoring.settings import Settings, read_settings


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: ``digests``, ``loads`` or ``golden-rows``, and a sentence on how it went."""

    check: str
    passed: bool
    sentence: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """All checks in their order; the first that fails is the last that ran.

    Attributes:
        bundle: what was verified, as it was asked for.
        passed: nothing is wrong with it.
        manifest_digest: None where the manifest cannot be believed.
    """

    bundle: str
    passed: bool
    manifest_digest: str | None
    checks: tuple[Check, ...]


@click.command(
    epilog="""Examples:

\b
  baton verify flight_delay 3
  baton verify var/bundles/flight_delay/1
  baton verify ./bundle --digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""
)
@click.argument("what", metavar="MODEL|FOLDER")
@click.argument("version", required=False)
@click.option("--digest", help="What the manifest's SHA-256 must be; by default what ledger and registry say it is.")
@json_option
def command(what: str, version: str | None, *, digest: str | None, as_json: bool) -> None:
    """Verify VERSION of MODEL as the registry gives it back, or the bundle in a FOLDER, as a worker would.

    Its manifest must be the one that the ledger and the registry name, every file the one that the manifest names, the
    compiled model must load, and the golden rows must score as they did. Exit status 1 when the bundle must not score.
    """
    if digest is not None:
        _check_digest(digest)
    if version is None:
        verified = verify(what, Path(what), digest)
    else:
        verified = _verify_registered(read_settings(), what, version, digest)
    if as_json:
        echo_json(verified)
    else:
        for check in verified.checks:
            click.echo(f"{check.check}: {'passed' if check.passed else 'FAILED'}: {check.sentence}")
        click.echo(f"{verified.bundle} {'may' if verified.passed else 'must not'} score")
    sys.exit(0 if verified.passed else EXIT_REFUSED)


def verify(name: str, folder: Path, expected_digest: str | None) -> Verified:
    """Check the bundle in ``folder``; ``name`` is what it is called in the answer."""
    checks: list[Check] = []
    bundle: Bundle | None = None
    step = "digests"
    try:
        bundle = open_bundle(folder, expected_digest)
        named = "the one that was expected" if expected_digest else "itself, for nothing else was named"
        checks.append(_passed(step, f"{len(bundle.manifest.files)} files as the manifest says; it is {named}"))
        step = "loads"
        scorer = Scorer(bundle)
        checks.append(_passed(step, f"{len(bundle.manifest.schema.features)} features run, by {scorer.kernel}"))
        step = "golden-rows"
        check_golden(scorer)
        checks.append(_passed(step, f"{len(bundle.golden)} rows score as they did when the bundle was made"))
    except BundleRejected as error:
        checks.append(Check(check=step, passed=False, sentence=str(error)))
    return _verified(name, bundle.digest if bundle else None, checks)


def _verify_registered(settings: Settings, model: str, version: str, digest: str | None) -> Verified:
    registry = open_registry(settings.need_registry_uri())
    expected = digest or _ledgers_digest(settings, model, version)
    if expected is None:
        tagged = {info.version: info.manifest_digest for info in registry.versions(model)}
        expected = tagged.get(version)
    name = f"{model} version {version}"
    with tempfile.TemporaryDirectory(prefix="baton-verify-") as scratch:
        folder = Path(scratch) / "bundle"
        try:
            registry.fetch(model, version, folder)
        except BundleRejected as error:
            return _verified(name, None, [Check(check="digests", passed=False, sentence=str(error))])
        return verify(name, folder, expected)


def _ledgers_digest(settings: Settings, model: str, version: str) -> str | None:
    """The digest in the newest entry that names the version; None where there is no ledger, or it names none."""
    if settings.ledger_url is None:
        return None
    named = [entry.manifest_digest for entry in open_ledger(settings).entries(model) if entry.version == version]
    return named[-1] if named else None


def _verified(name: str, digest: str | None, checks: list[Check]) -> Verified:
    passed = all(check.passed for check in checks)
    return Verified(bundle=name, passed=passed, manifest_digest=digest, checks=tuple(checks))


def _passed(step: str, sentence: str) -> Check:
    return Check(check=step, passed=True, sentence=sentence)


def _check_digest(text: str) -> None:
    try:
        msgspec.convert(text, Digest)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"--digest: {text!r} is not a SHA-256: 64 lower-case hexadecimal digits") from error
