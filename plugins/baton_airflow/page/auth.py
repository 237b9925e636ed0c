"""Who asks, what they may do with a model's DAG, and whether a post was made on this page.

The user is whoever Airflow's auth manager takes the request's cookie or bearer token for, and the rights are its own.
The cookie alone proves nothing about a post, for a browser sends it whatever site the form stands on: a post must come
from this origin, and carry a token that was made for this user.
"""

from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from baton_airflow.page.rights import Rights

TOKEN_SECONDS = 12 * 3600
TOLD_SECONDS = 600

_TRIGGER = "you may not start runs of this model's DAG"
_EDIT = "you may not change runs of this model's DAG"
_ANSWER = "you may not answer the questions of this model's DAG"
_ASK = "; ask an administrator of Airflow for the right to do so"


def rights_of(user: BaseUser, dag_id: str) -> Rights:
    """Ask the auth manager; it may ask a database or a server."""
    manager = get_auth_manager()
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))

    def may(method: str, entity: DagAccessEntity | None) -> bool:
        return bool(
            manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user)  # type: ignore[arg-type]
        )

    trigger, edit = may("POST", DagAccessEntity.RUN), may("PUT", DagAccessEntity.RUN)
    return Rights(
        read=None if may("GET", None) else f"you may not read {dag_id}",
        retrain=None if trigger else _TRIGGER + _ASK,
        answer=None if may("PUT", DagAccessEntity.HITL_DETAIL) else _ANSWER + _ASK,
        decide=None if trigger and edit else (_EDIT if trigger else _TRIGGER) + _ASK,
    )


def person(user: BaseUser) -> str:
    """The user's name for the ledger, with the id where that is another word."""
    identity, name = str(user.get_id()), user.get_name().strip()
    return f"{name} ({identity})" if name and name != identity else identity


def bearer_of(user: BaseUser) -> str:
    """A token of the same user for one call of Airflow's own API."""
    return get_auth_manager().generate_jwt(user, expiration_time_in_seconds=60)


def login_url(back: str) -> str:
    """Where to log in; it leads back to the path ``back``."""
    return str(get_auth_manager().get_url_login(next_url=back))


def form_token(user: BaseUser) -> str:
    """What every form of this user carries."""
    return _signer("form").dumps(str(user.get_id()))


def require_own_post(request: Request, user: BaseUser, token: str) -> None:
    """Nothing where the post was made on this page by this user.

    Raises:
        HTTPException: 403, with the reason.
    """
    if not _same_origin(request):
        raise HTTPException(403, "this request was not made on the page itself; open the page and use its button")
    try:
        made_for = _signer("form").loads(token, max_age=TOKEN_SECONDS)
    except BadSignature:  # an old one as well
        made_for = None
    if made_for != str(user.get_id()):
        raise HTTPException(403, "the form is too old, or was made for somebody else; load the page again")


def tell(sentence: str, *, good: bool) -> str:
    """A sentence that the next page shows, signed so that nobody else can make it say something."""
    return _signer("told").dumps([sentence, good])


def told(token: str | None) -> tuple[str, bool] | None:
    """The sentence, and whether it is good news; None where there is none to be believed."""
    try:
        sentence, good = _signer("told").loads(token or "", max_age=TOLD_SECONDS)
    except (BadSignature, ValueError, TypeError):
        return None
    return str(sentence), bool(good)


def _same_origin(request: Request) -> bool:
    """A browser says where a post comes from, in one header at least; who says nothing is not believed."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    own = {request.headers.get("host", "")}
    if base := urlsplit(conf.get("api", "base_url", fallback="")).netloc:
        own.add(base)
    return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc in own


def _signer(purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt=f"baton-page-{purpose}")
