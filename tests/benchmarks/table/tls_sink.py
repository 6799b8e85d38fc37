"""A discard sink behind TLS, a thread per connection: ``python -m tests.benchmarks.table.tls_sink CERTIFICATE KEY``.

Looks for the end of an article in the last bytes received, so clients must not send a command behind an article
before its reply.
"""

import socket
import ssl
import sys
import threading
from contextlib import suppress

END = b"\r\n.\r\n"
REPLIES = {
    b"AUTHINFO USER": b"381 go on",
    b"AUTHINFO PASS": b"281 welcome",
    b"MODE": b"200 ready",
    b"QUIT": b"205 bye",
}


def serve(sock: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError), context.wrap_socket(sock, server_side=True) as secured:
        secured.sendall(b"200 sink ready\r\n")
        buffer, line = memoryview(bytearray(1 << 18)), b""
        while got := secured.recv_into(buffer):
            line += bytes(buffer[:got])
            while b"\n" in line:
                command, _, line = line.partition(b"\n")
                if command.upper().startswith(b"POST"):
                    secured.sendall(b"340 send it\r\n")
                    if not discard(secured, buffer, line):
                        return
                    line = b""
                    secured.sendall(b"240 article received\r\n")
                else:
                    secured.sendall(reply_to(command.upper()) + b"\r\n")


def reply_to(command: bytes) -> bytes:
    if command.startswith(b"CAPABILITIES"):
        return b"101 here\r\nVERSION 2\r\nREADER\r\nPOST\r\nAUTHINFO USER\r\n."
    if command.startswith((b"STAT", b"HEAD", b"BODY", b"ARTICLE")):
        return b"430 no such article"
    return next((reply for verb, reply in REPLIES.items() if command.startswith(verb)), b"500 unknown")


def discard(secured: ssl.SSLSocket, buffer: memoryview, begun: bytes) -> bool:
    tail = begun[-len(END) :]
    while tail != END:
        got = secured.recv_into(buffer)
        if not got:
            return False
        tail = (tail + bytes(buffer[max(0, got - len(END)) : got]))[-len(END) :]
    return True


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, context), daemon=True).start()


if __name__ == "__main__":
    main()
