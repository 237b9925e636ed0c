"""The settings of ``baton api``; ``scoring.settings`` reads them from the environment with all the others."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ApiSettings(BaseModel):
    """What may be set about scoring on request."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    api_address: str = "127.0.0.1"
    """IP address that the API is served on."""
    api_port: int = Field(default=9580, ge=0, le=65_535)
    """Port of the API; its processes share it. 0 takes a free one."""
    api_tokens_file: Path | None = None
    """JSON file of the tokens that may ask the API, by digest; `baton api token` writes it."""
    api_certificate: Path | None = None
    """PEM file of the certificate that the API shows; without it others have to put TLS in front."""
    api_key: Path | None = None
    """PEM file of that certificate's key."""
    api_processes: int = Field(default=0, ge=0, le=1024)
    """How many processes of the API to supervise, in this slot and those that follow; 0 is one without a supervisor."""
    api_requests: int = Field(default=256, ge=1)
    """How many requests to score a process has in hand at the most; one more is answered with 429."""
    api_records: int = Field(default=16_384, ge=1)
    """How many records it has in hand at the most."""
    api_bytes: int = Field(default=32 * 2**20, ge=2**16)
    """How many bytes of requests it has in hand at the most."""
    api_request_records: int = Field(default=1_024, ge=1)
    """Records of one request at the most."""
    api_request_bytes: int = Field(default=2**20, ge=2**10)
    """Bytes of one request's body at the most."""
    api_deadline_ms: int = Field(default=1_000, ge=1)
    """Within how many milliseconds a request is answered that asks for no deadline."""
    api_maximum_deadline_ms: int = Field(default=10_000, ge=1)
    """The longest deadline that a request may ask for, in milliseconds."""
    api_explanations: int = Field(default=2, ge=1, le=64)
    """How many explanations a process of the API makes at a time, each in a process of its own; eight wait for each."""
    api_explain_deadline_ms: int = Field(default=30_000, ge=1)
    """Within how many milliseconds an explanation is there at the latest."""
    api_metrics_port: int = Field(default=0, ge=0, le=65_000)
    """Port of each process's own /metrics, /livez and /readyz, counted up by slot; 0 leaves them to the API's port."""

    @field_validator("api_address")
    @classmethod
    def _api_address(cls, value: str) -> str:
        return str(ip_address(value))
