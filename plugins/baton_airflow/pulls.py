"""What is said of sources that could not be pulled, where a person looks first."""

from collections.abc import Callable, Collection

from training.definition import ModelDefinition

TOLD = 5


def not_pulled(definition: ModelDefinition, pulled: Collection[str], reason: Callable[[int], str | None]) -> str | None:
    """Names the sources that are lacking, with what each said; None where all are there.

    Args:
        pulled: the names of the others.
        reason: what the task of a source said, by its place among the sources; None where it was killed.
    """
    names = [source.title for source in definition.all_sources]
    missing = [(place, name) for place, name in enumerate(names) if name not in pulled]
    if not missing:
        return None
    told = [_of_one(name, reason(place)) for place, name in missing[:TOLD]]
    more = f"; and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
    return (
        f"{len(missing)} of {len(names)} sources could not be pulled: {'; '.join(told)}{more}. Mend that, and clear "
        "that instance of 'pull': the others are not pulled again"
    )


def _of_one(name: str, said: str | None) -> str:
    """Most errors name their source themselves."""
    if said is None:
        return f"{name!r} (see the log of its task)"
    return said if repr(name) in said else f"{name!r}: {said}"
