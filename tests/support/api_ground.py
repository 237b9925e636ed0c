"""A ground with ``baton api`` as well: a process of it, as somebody would start it."""

import json
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from scoring.api.tokens import Scope, make_token
from tests.support.arena import wait_until
from tests.support.ground import Ground


class ApiGround(Ground):
    """Workers and processes of the API over the same notices, registry and cache."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        super().__init__(bootstrap, folder)
        self.token = make_token(folder / "tokens.json", "test", [Scope.READ, Scope.SCORE])
        self.variables["BATON_API_TOKENS_FILE"] = str(folder / "tokens.json")
        self.variables["BATON_API_DEADLINE_MS"] = "10000"  # a busy machine is no reason to fail

    def serve(self, *arguments: str, slot: int = 0, under: Sequence[str] = ()) -> "Api":
        """Start ``baton api`` on a free port, and wait until it answers.

        Args:
            under: a command that runs it, such as ``prlimit``.
        """
        log = self.folder / f"api-{slot}.log"
        command = [*under, sys.executable, "-m", "scoring", "api", "--port", "0", "--slot", str(slot), *arguments]
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=self.environment(slot), stdout=file, stderr=file)
        self.workers.append(process)
        api = Api(process, log, self.token, self.model)
        wait_until(api.answers, 100, "the API does not answer", every_s=0.05)
        return api


class Api:
    """What was started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, token: str, model: str) -> None:
        self.process = process
        self.log = log
        self.path = f"/v1/models/{model}/score"
        self._headers = {"Authorization": f"Bearer {token}"}

    @property
    def url(self) -> str:
        """Where it is served; empty as long as it is not."""
        whole, _, _ = self.log.read_text(errors="replace").rpartition("\n")  # the last line may be half written
        started = [line for line in whole.splitlines() if '"api.started"' in line]
        if not started:
            return ""
        told = json.loads(started[0])
        return f"http{'s' if told['tls'] else ''}://127.0.0.1:{told['port']}"

    def client(self) -> httpx.Client:
        """A client that trusts whatever certificate the test has made."""
        trusted: bool | ssl.SSLContext = True
        if (found := self.log.parent / "certificate.pem").exists():
            trusted = ssl.create_default_context(cafile=str(found))
        kept = httpx.Limits(keepalive_expiry=None)  # a connection stays open as long as the process lets it
        return httpx.Client(base_url=self.url, headers=self._headers, timeout=60, verify=trusted, limits=kept)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        if not self.url:
            return False
        try:
            with self.client() as client:
                return client.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def wait_for_version(self, version: int) -> None:
        """Wait until a version scores in the process that is asked."""
        with self.client() as client:
            model = self.path.split("/")[3]
            wait_until(
                lambda: client.get(f"/v1/models/{model}").json()["version"] == str(version),
                100,
                f"version {version} is not live: {self.log}",
            )

    def score(self, client: httpx.Client, records: Sequence[bytes]) -> httpx.Response:
        """Score records, a line each."""
        headers = {"Content-Type": "application/x-ndjson"}
        return client.post(self.path, content=b"\n".join(records), headers=headers)
