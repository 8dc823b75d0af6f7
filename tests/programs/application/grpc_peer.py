"""A gRPC target, and a client that calls it through a load balancer: a process of its own, as grpc keeps files open.

    python grpc_peer.py TARGET:PORT BALANCER:PORT CA.pem

Prints what came back as JSON once a line on its input says that the load balancer runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

METHOD = "/lab.Greeter/Greet"


class Greeter(grpc.GenericRpcHandler):
    """Says hello three times."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return grpc.unary_stream_rpc_method_handler(self._greet) if details.method == METHOD else None

    def _greet(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        if request == b"nobody":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such one")
        for number in range(3):
            yield b"hello %s %d" % (request, number)


def main(target: str, balancer: str, authority: str) -> None:
    server = grpc.server(ThreadPoolExecutor(2), [Greeter()])
    server.add_insecure_port(target)
    server.start()
    sys.stdin.readline()
    trusted = grpc.ssl_channel_credentials(Path(authority).read_bytes())
    with grpc.secure_channel(balancer, trusted, [("grpc.enable_http_proxy", 0)]) as channel:
        greet: Any = channel.unary_stream(METHOD)
        said = [each.decode() for each in greet(b"you", timeout=20)]
        try:
            list(greet(b"nobody", timeout=20))
        except grpc.RpcError as error:
            refused: Any = error
            print(json.dumps({"said": said, "code": refused.code().name, "details": refused.details()}))
    server.stop(None).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
