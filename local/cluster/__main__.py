"""The command: python -m local.cluster --port P [--seed SEED.yaml] [--state FILE] [--write-kubeconfig FILE] ..."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path

from local.cluster import access
from local.cluster import seed as seeds
from local.cluster.cluster import Cluster
from local.cluster.controllers.common import Settings
from local.cluster.failures import ApiError
from local.cluster.web import Server

_DELAYS = {
    "start": "a pod, from its node until it is ready",
    "stop": "a pod, from its deletion until it is gone",
    "node_grace": "a node, from its kubelet's end until Ready is Unknown",
    "collect": "a pod that nobody runs any more, until it is collected",
    "budget": "a new or changed disruption budget, until it is processed",
    "lease": "between two renewals of a node's lease",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m local.cluster", description="A stand-in Kubernetes cluster.")
    made.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    made.add_argument(
        "--port", type=int, required=True, help="0 picks a free one, which the first line of output names"
    )
    made.add_argument("--seed", type=Path, help="the nodes and objects to start with")
    made.add_argument(
        "--state", type=Path, help="where the cluster is kept; when the file exists, the seed is not used"
    )
    made.add_argument("--token", default="", help="the bearer token that every request must carry")
    made.add_argument("--tls", action="store_true", help="listen with TLS (kubectl sends a token over TLS only)")
    made.add_argument("--write-kubeconfig", type=Path, metavar="FILE", help="where to write a kubeconfig")
    made.add_argument("--no-controllers", action="store_true", help="the API alone: nothing acts by itself")
    made.add_argument("--random-seed", type=int, metavar="N", help="the same uids and names at every start")
    for delay in fields(Settings):
        option = f"--{delay.name.replace('_', '-')}-seconds"
        text = f"{_DELAYS[delay.name]} (default: %(default)s)"
        made.add_argument(option, type=float, default=delay.default, metavar="S", help=text)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns 0, 1 when the controllers failed, 2 for a bad seed or state."""
    options = parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    settings = Settings(**{delay.name: getattr(options, f"{delay.name}_seconds") for delay in fields(Settings)})
    try:
        seed = seeds.read(options.seed) if options.seed else {}
        cluster = Cluster(
            seed,
            state=options.state,
            settings=settings,
            controllers=not options.no_controllers,
            token=options.token,
            random_seed=options.random_seed,
            on_end=ended.set,
        )
    except (seeds.SeedError, ApiError) as error:
        print(f"stand-in cluster: {error}", file=sys.stderr)
        return 2
    certificate, key = access.self_signed(options.host) if options.tls else (b"", b"")
    context = access.server_context(certificate, key) if options.tls else None
    server = Server((options.host, options.port), cluster.router, context)
    url = f"{'https' if options.tls else 'http'}://{options.host}:{server.server_port}"
    if options.write_kubeconfig:
        name = seed.get("cluster", "stand-in")
        access.write_kubeconfig(
            options.write_kubeconfig, url, cluster=name, token=options.token, certificate=certificate
        )
    cluster.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"stand-in cluster on {url}", flush=True)
    ended.wait()
    failed = not options.no_controllers and not cluster.loop.running
    cluster.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
