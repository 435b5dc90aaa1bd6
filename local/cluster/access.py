"""What a client needs to reach the cluster: a kubeconfig, and a certificate when it listens with TLS."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(path: Path, url: str, *, cluster: str, token: str = "", certificate: bytes = b"") -> None:
    """Write a kubeconfig (mode 0600) whose only context is the cluster's name."""
    server: dict[str, Any] = {"server": url}
    if certificate:
        server["certificate-authority-data"] = base64.b64encode(certificate).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": cluster, "user": {"token": token} if token else {}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.touch(mode=0o600)
    partial.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    partial.replace(path)


def self_signed(host: str) -> tuple[bytes, bytes]:
    """A new certificate for a loopback address and its private key, both PEM. Needs `cryptography`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in cluster")])
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)), x509.DNSName("localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(encoding), secret


def server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """A TLS server's context with this certificate and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the ssl module reads keys from files only
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
