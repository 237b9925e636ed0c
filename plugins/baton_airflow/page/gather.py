"""Everything that one request shows, read side by side."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

from baton_airflow.page.airflow import AirflowApi, AirflowSaid
from baton_airflow.page.reading import Sources
from baton_airflow.page.view import Card, Read, card, dead_letters_of
from scoring.contract.manifest import Topics

Json = Any
Result = TypeVar("Result")


def dag_of(model: str) -> str:
    """The DAG that trains a model, as ``baton_airflow.factory`` names it; that module loads the training side."""
    return f"train_{model}"


async def read_model(api: AirflowApi, sources: Sources, model: str) -> Read:
    """All that the page of one model needs. What cannot be read is missing, with its reason.

    Raises:
        AirflowSaid: there is no such DAG, or the user may not read it.
    """
    dag_id = dag_of(model)
    dag = await api.dag(dag_id)
    of_airflow = asyncio.gather(_or_why(api.runs(dag_id)), _or_why(api.questions(dag_id)), _or_why(api.tasks(dag_id)))
    history, registry, crew, letters = await asyncio.gather(
        sources.history.see(),
        sources.registry.see(model),
        sources.crew.see(),
        sources.letters.see(dead_letters_of(dag) or Topics.of(model).dead_letters),
    )
    runs, questions, tasks = await of_airflow
    problems = [why for _, why in (runs, questions, tasks) if why]
    return Read(
        model=model,
        dag_id=dag_id,
        now=datetime.now(UTC),
        history=history,
        registry=registry,
        crew=crew,
        letters=letters,
        dag=dag,
        runs=runs[0] or (),
        questions=questions[0] or (),
        tasks=tasks[0] or {},
        airflow_problem="; ".join(problems) or None,
    )


async def read_cards(api: AirflowApi, sources: Sources) -> tuple[list[Card], list[str]]:
    """A card for each model that the user may read, and what cannot be seen now."""
    history, crew, dags, questions = await asyncio.gather(
        sources.history.see(), sources.crew.see(), _or_why(api.models()), _or_why(api.questions())
    )
    cards = [card(model, dag, history, crew, questions[0] or ()) for model, dag in sorted((dags[0] or {}).items())]
    return cards, [why for why in (history.problem, crew.problem, dags[1], questions[1]) if why]


async def _or_why(asked: Awaitable[Result]) -> tuple[Result | None, str | None]:
    """What Airflow answers, or why it does not."""
    try:
        return await asked, None
    except AirflowSaid as error:
        return None, str(error)
