"""Serve the stand-in until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from local.ssm_agent.documents import SsmError
from local.ssm_agent.service import Service

_LONGEST_REQUEST = 1_048_576


def handler_for(service: Service) -> type[BaseHTTPRequestHandler]:
    """The HTTP side: AWS's JSON 1.1 protocol, in which the operation is a header."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, {"instances": "ready"})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            if length > _LONGEST_REQUEST:
                self.close_connection = True
                self._answer(413, {"__type": "ValidationException", "message": "too long"})
                return
            body = self.rfile.read(length)
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            try:
                self._answer(200, service.call(operation, json.loads(body or b"{}")))
            except SsmError as error:
                self._answer(400, {"__type": error.code, "message": str(error)})
            except ValueError as error:
                self._answer(400, {"__type": "SerializationException", "message": str(error)})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            print(self.headers.get("X-Amz-Target", "-") if hasattr(self, "headers") else "-", format % args, flush=True)

    return Handler


def s3_uploader(endpoint: str) -> Any:
    """A function that puts a file in a bucket, at the S3 of `endpoint` (AWS's own when it is empty)."""
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}) if endpoint else Config()
    s3 = boto3.client("s3", endpoint_url=endpoint or None, config=config, region_name="us-east-1")
    return lambda bucket, key, path: s3.upload_file(str(path), bucket, key)


def main(arguments: list[str] | None = None) -> int:
    """Run the agent as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m local.ssm_agent", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--state", type=Path, required=True, help="directory of documents, scripts and their output")
    parser.add_argument("--instances", type=Path, required=True, help="JSON: instance id → environment of its commands")
    parser.add_argument("--s3-endpoint", default="", help="where long output goes; AWS_ENDPOINT_URL by default")
    parser.add_argument("--lag", type=float, default=0.1, help="seconds for which a new invocation is unknown")
    options = parser.parse_args(arguments)
    options.state.mkdir(parents=True, exist_ok=True)
    service = Service(options.state, options.instances, lag=options.lag, put_object=s3_uploader(options.s3_endpoint))
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler_for(service))
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        service.stop()
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
