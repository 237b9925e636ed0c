"""Makes the DAGs of all definitions, such that one of which none can be made takes no other's away.

Airflow takes all DAGs of a file out of service while one of them cannot be read. So each is held against what Airflow
holds it against later, and the one that does not stand is left out and told of by another file.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from airflow.sdk import DAG

from baton_airflow.factory import build_dag
from baton_airflow.retrain import build_retrain_dag
from scoring.contract.errors import ConfigurationError
from training.catalog import Catalog
from training.definition import ModelDefinition


class Built(msgspec.Struct, frozen=True):
    """What could be made.

    Attributes:
        dags: by id; of each model both or none.
        mistakes: why there is none, a sentence by model.
    """

    dags: Mapping[str, DAG]
    mistakes: Mapping[str, str]


def build_all(definitions: Iterable[ModelDefinition]) -> Built:
    """The DAG that trains and the one that starts it for events, of each definition that Airflow can take."""
    dags: dict[str, DAG] = {}
    mistakes: dict[str, str] = {}
    for definition in definitions:
        try:
            dags |= {dag.dag_id: dag for dag in _made(definition)}
        except Exception as error:
            mistakes[definition.name] = str(error) or type(error).__name__
    return Built(dags, mistakes)


def require_all(catalog: Catalog) -> None:
    """Nothing where every definition of a folder has its DAGs.

    Raises:
        ConfigurationError: lists what is wrong with every file, and with every definition that makes no DAG.
    """
    lines = []
    try:
        catalog.require_good()
    except ConfigurationError as error:
        lines.append(str(error))
    built = build_all(catalog.definitions.values())
    lines += [f"model {name!r} makes no DAG: {why}" for name, why in built.mistakes.items()]
    if lines:
        raise ConfigurationError("\n".join(lines))


def _made(definition: ModelDefinition) -> Iterator[DAG]:
    """Its DAGs. Whatever is raised is the reason why Airflow would not take them."""
    trains = build_dag(definition)
    for dag in (trains, build_retrain_dag(definition, trains.dag_id)):
        dag.validate()  # type: ignore[no-untyped-call]
        dag.check_cycle()
        yield dag
