"""An authorisation service for a registry: tokens as the Distribution specification says, signed by an authority."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.real.certificates import Authority, Pair

ISSUER = "paydown-tests"


@dataclass
class Service:
    """Gives everybody with the right password what they ask for; `asked` are the scopes, in order."""

    url: str
    authority: Authority
    signer: Pair
    credentials: str
    asked: list[str] = field(default_factory=list)
    seconds: int = 300

    def config(self, folder: Path) -> dict[str, Any]:
        """The section `auth` of the registry's configuration."""
        bundle = folder / "authority.pem"
        bundle.write_text(self.authority.cert)
        return {"token": {"realm": self.url, "service": "images", "issuer": ISSUER, "rootcertbundle": str(bundle)}}

    def token(self, service: str, scope: str) -> str:
        """A token for one scope."""
        now = int(time.time())
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access = [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else []
        claims = {
            "iss": ISSUER,
            "sub": "paydown",
            "aud": service,
            "iat": now,
            "nbf": now - 60,
            "exp": now + self.seconds,
            "jti": str(time.time_ns()),
            "access": access,
        }
        chain = [base64.b64encode(ssl.PEM_cert_to_DER_cert(self.signer.cert)).decode()]
        head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
        key = serialization.load_pem_private_key(self.signer.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_service(username: str, password: str) -> Iterator[Service]:
    """A service on loopback, open inside the block."""
    authority = Authority()
    credentials = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    service = Service("", authority, authority.client(), credentials)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scope = query.get("scope", [""])[0]
            service.asked.append(scope)
            known = self.headers.get("Authorization") == service.credentials
            body = json.dumps({"token": service.token(query["service"][0], scope)} if known else {}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield service
        server.shutdown()
        thread.join()
