from pathlib import Path

import pytest

# Airflow and what it imports warn of things that nobody here can mend; our own warnings stay errors.
_WARNINGS = ("ignore", r"error::Warning:(baton_airflow|training|scoring)(\..*)?")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.filterwarnings(*_WARNINGS))
