"""The schedule of a definition: cron text, of which Airflow would only say later that it cannot be read."""

from collections.abc import Iterator
from datetime import UTC, datetime

# Airflow's, and no name of croniter's.
_NAMES = {"@quarterly": "0 0 1 */3 *"}
# Any day will do: it is only asked whether there is a next time at all.
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_REMEDY = 'write cron text of five fields, such as "0 6 * * 1", or a name such as "@weekly"; None runs by hand only'


def schedule_mistakes(schedule: object) -> Iterator[str]:
    """Why Airflow could make no intervals of a schedule: at most one sentence."""
    if schedule is None:
        return
    why = _why_not(schedule) if isinstance(schedule, str) else "it is no text"
    if why:
        yield f"schedule: {schedule!r} cannot be read ({why}); {_REMEDY}"


def _why_not(text: str) -> str:
    """What is wrong with it; empty where it is good."""
    from croniter import CroniterError, croniter  # noqa: PLC0415  only for those that have a schedule

    try:
        times = croniter(_NAMES.get(text, text), _SOME_DAY)
        if len(times.expanded) > 6:
            return "it has more than six fields"
        # A day that never comes, such as the 30th of February, is found by nobody before the scheduler.
        times.get_next(datetime)
    except CroniterError as error:
        return str(error).rstrip(".")
    return ""
