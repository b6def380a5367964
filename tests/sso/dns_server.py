"""A name server on loopback, over UDP and TCP, that says what a test tells it to."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

UDP_SIZE = 512


@dataclass
class NameServer:
    """What it answers, by name without the dot at the end.

    Attributes:
        texts: TXT records, each of one or several pieces.
        aliases: CNAME to another of the names.
        broken: names that it answers with SERVFAIL.
        silent: names that it does not answer at all.
        asked: the names that were asked for.
    """

    texts: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)

    def says(self, name: str, *texts: str) -> None:
        """Have the name have these TXT records."""
        self.texts[name] = [(text,) for text in texts]

    def answer(self, question: bytes) -> dns.message.Message | None:
        """The answer to a message; None: silence."""
        query = dns.message.from_wire(question)
        asked = query.question[0].name
        name = asked.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        if name in self.aliases:
            target = self.aliases[name]
            response.answer.append(dns.rrset.from_text(asked, 60, "IN", "CNAME", f"{target}."))
            name = target
        if name not in self.texts:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response
        records = [
            " ".join('"' + piece.replace('"', '\\"') + '"' for piece in pieces)
            for pieces in self.texts[name]
        ]
        if records:
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "TXT", *records))
        return response


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """A server that answers until the block ends."""
    answers = NameServer()

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            message, channel = self.request
            response = answers.answer(message)
            if response is not None:
                wire = response.to_wire()
                if len(wire) > UDP_SIZE:
                    response.answer.clear()
                    response.flags |= dns.flags.TC
                    wire = response.to_wire()
                channel.sendto(wire, self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack("!H", self.rfile.read(2))
            response = answers.answer(self.rfile.read(size))
            if response is not None:
                wire = response.to_wire()
                self.wfile.write(struct.pack("!H", len(wire)) + wire)

    with contextlib.ExitStack() as stack:
        udp, tcp = _pair(Udp, Tcp)
        answers.address = ("127.0.0.1", int(udp.server_address[1]))
        for server in (udp, tcp):
            stack.enter_context(server)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield answers


def _pair(
    udp: type[socketserver.BaseRequestHandler], tcp: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    """Both on the same port."""
    for _ in range(20):
        first = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp)
        try:
            return first, socketserver.ThreadingTCPServer(
                ("127.0.0.1", int(first.server_address[1])), tcp
            )
        except OSError:
            first.server_close()
    raise AssertionError("no port is free for both UDP and TCP")
