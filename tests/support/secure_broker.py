"""A real broker that lets nobody in without TLS and a password, and lets them do only what they were allowed to."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.kafka.broker import Broker
from local.kafka.properties import FAULT_TESTS, BrokerConfig
from local.ports import free_ports
from tests.support.arena import wait_until

USER, PASSWORD = "baton", "correct horse battery staple"
Grant = tuple[ResourceType, str, ResourcePatternType, tuple[AclOperation, ...]]


class Certificates(msgspec.Struct, frozen=True):
    """Files: the authority's certificate, and the broker's key with its chain."""

    authority: Path
    broker: Path


class SecureBroker(msgspec.Struct, frozen=True):
    """A broker with a plain listener for the test, which may do everything, and a secure one for what is tested."""

    broker: Broker
    secure: str
    certificates: Certificates

    @property
    def plain(self) -> str:
        """host:port of the plain listener."""
        return self.broker.bootstrap

    def options(self) -> dict[str, Any]:
        """What is no secret of what a client needs."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "ssl.ca.location": str(self.certificates.authority),
        }

    def allow(self, *grants: Grant) -> None:
        """Let the user do this, and nothing else."""
        bindings = [
            AclBinding(kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)
            for kind, name, pattern, operations in grants
            for operation in operations
        ]
        admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 4})  # its requests end with it
        for future in admin.create_acls(bindings).values():
            future.result(20)
        # The controller answers before the broker goes by them.
        wait_until(lambda: set(bindings) <= set(_allowed(admin)), 60.0, "the broker does not know what is allowed")


def _allowed(admin: AdminClient) -> list[AclBinding]:
    every: Any = None  # what the client's own types leave out
    everything = AclBindingFilter(
        ResourceType.ANY, every, ResourcePatternType.ANY, every, every, AclOperation.ANY, AclPermissionType.ANY
    )
    found: list[AclBinding] = admin.describe_acls(everything).result(20)
    return found


@contextmanager
def secure_broker(folder: Path, jars: Path) -> Iterator[SecureBroker]:
    """Run one."""
    port, controller, secure = free_ports(3)
    certificates = make_certificates(folder)
    config = BrokerConfig(
        data_dir=folder / "kafka",
        port=port,
        controller_port=controller,
        overrides={**FAULT_TESTS, **_properties(port, controller, secure, certificates)},
    )
    with Broker(config, jars=jars) as broker:
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
        wanted = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 4})
        admin.alter_user_scram_credentials([wanted])[USER].result(20)
        yield SecureBroker(broker, f"127.0.0.1:{secure}", certificates)


def _properties(port: int, controller: int, secure: int, certificates: Certificates) -> dict[str, str]:
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": str(certificates.broker),
        "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def make_certificates(folder: Path) -> Certificates:
    """An authority of the test's own, and a certificate for 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Certificates(folder / "authority.pem", folder / "broker.pem")
    authority_key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("the test's authority")
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    broker = (
        _certificate(_name("broker"), authority_name, broker_key.public_key())
        .add_extension(here, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    found.authority.write_bytes(authority.public_bytes(pem))
    key = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found.broker.write_bytes(key + broker.public_bytes(pem) + authority.public_bytes(pem))
    return found


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
