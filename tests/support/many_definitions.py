"""A folder with as many model definitions as one likes: the project's own, under other names."""

from pathlib import Path

from tests.support.airflow_home import PROJECT

NAME = "flight_delay"


def write_definitions(folder: Path, count: int) -> Path:
    """Write them, with their suites beside the folder; returns the folder of the definitions."""
    source = (PROJECT / "models" / f"{NAME}.py").read_text()
    models = folder / "models"
    models.mkdir(parents=True)
    for number in range(count):
        name = f"{NAME}_{number:03}"
        (models / f"{name}.py").write_text(source.replace(NAME, name))
    return models
