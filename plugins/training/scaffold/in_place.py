"""A file that a definition names itself: whether it can be read as it stands."""

from collections.abc import Iterator

from scoring.contract.errors import ConfigurationError
from scoring.settings import Settings
from scoring.sources.files import FilesReader
from scoring.sources.port import Pull
from training.scaffold.plan import Plan
from training.sources import files


def unreadable(plan: Plan) -> Iterator[str]:
    """Why a run could not read the file as the plan declares it; nothing where it can."""
    roles = plan.roles
    used = {each.name: each for each in (roles.key, roles.event_time, roles.label, *plan.features, *plan.late)}
    columns = {each.name: each.column for each in used.values()}
    declared = files(plan.file or "", delimiter=plan.delimiter, timezone=plan.zone, columns=columns)
    pull = Pull(
        source=declared.reading([*used]),
        kinds={each.name: each.kind for each in used.values()},
        event_time=None,
        start=plan.end,
        end=plan.end,
    )
    try:
        FilesReader(Settings().need_connection).read(pull)
    except ConfigurationError as error:
        yield f"--in-place: {error}; without it the file is loaded into a database, which converts what it holds"
