"""What hostile clients do, and that it harms nobody else: after each case the server answers an honest request.

hostile.py URL [--connections 10000]
"""

import argparse
import http.client
import json
import resource
import socket
import time
import urllib.parse

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("url")
parser.add_argument("--connections", type=int, default=10000)
args = parser.parse_args()
place = urllib.parse.urlparse(args.url)
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{place.port}\r\nContent-Type: application/json\r\n"
ASK = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "thinking": {"type": "disabled"}})


def honest():
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    begin = time.monotonic()
    connection.request("POST", "/v1/chat/completions", ASK, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200 and json.load(answer)["choices"], answer.status
    return time.monotonic() - begin


def connect():
    return socket.create_connection((place.hostname, place.port), timeout=90)


def raw(*parts, pause=0.0):
    """What comes back: the status lines of all answers, and whether the connection was closed."""
    with connect() as line:
        try:
            for part in parts:
                line.sendall(part if isinstance(part, bytes) else part.encode())
                time.sleep(pause)
        except OSError:
            pass  # it was closed before we had said everything
        line.settimeout(5 if pause == 0 else 90)
        data = b""
        try:
            while part := line.recv(1 << 16):
                data += part
            closed = "closed"
        except TimeoutError:
            closed = "open"
        except OSError:
            closed = "closed"
        return [one.split(b"\r\n")[0].decode() for one in data.split(b"HTTP/1.1 ")[1:]], closed


def slow_head():
    return raw(*HEAD[:20], pause=0.2)  # byte by byte: another is served meanwhile, and its time is limited


def body(text, *headers):
    return HEAD + "".join(h + "\r\n" for h in headers) + "\r\n" + text


CASES = {
    "a head of 1 MiB": lambda: raw(HEAD + "X: " + "a" * (1 << 20) + "\r\n\r\n"),
    "100,000 headers": lambda: raw(HEAD + "A: b\r\n" * 100000 + "\r\n"),
    "a path of 1 MiB": lambda: raw("GET /" + "a" * (1 << 20) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a path that goes up": lambda: raw("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    "an escaped path": lambda: raw("GET /%2e%2e/%00/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    "no HTTP": lambda: raw(b"\x16\x03\x01\x02\x00\x01" * 1000 + b"\r\n\r\n"),
    "a length of 2^31": lambda: raw(body("x", "Content-Length: 2147483648")),
    "a length of 2^64": lambda: raw(body("x", "Content-Length: 18446744073709551616")),
    "a negative length": lambda: raw(body("x", "Content-Length: -1")),
    "two lengths": lambda: raw(body(ASK, "Content-Length: 5", f"Content-Length: {len(ASK)}")),
    "length and chunks": lambda: raw(body("0\r\n\r\n", f"Content-Length: {len(ASK)}", "Transfer-Encoding: chunked")),
    "smuggled request": lambda: raw(body("0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "Content-Length: 6", "Transfer-Encoding: chunked")),
    "chunks of garbage": lambda: raw(body("zz\r\nnothing\r\n", "Transfer-Encoding: chunked")),
    "a chunk of 2^63": lambda: raw(body("7fffffffffffffff\r\nx", "Transfer-Encoding: chunked")),
    "an encoding of its own": lambda: raw(body("x", "Transfer-Encoding: gzip, chunked")),
    "a compressed body": lambda: raw(body("x", "Content-Encoding: gzip", "Content-Length: 1")),
    "less than it said": lambda: raw(body("{", "Content-Length: 100")),
    "JSON 1,000,000 deep": lambda: raw(body("[" * 1000000, "Content-Length: 1000000", "Connection: close")),
    "a string of 16 MiB": lambda: raw(body(json.dumps({"messages": "a" * (1 << 24)}), f"Content-Length: {(1 << 24) + 16}", "Connection: close")),
    "bytes that are no UTF-8": lambda: raw((HEAD + "Content-Length: 6\r\nConnection: close\r\n\r\n").encode() + b'{"\xff":1'[:6]),
    "a slow head": slow_head,
}

print(f"an honest request takes {honest() * 1000:.0f} ms")
for name, case in CASES.items():
    begin = time.monotonic()
    answers, closed = case()
    print(f"{name:26} {time.monotonic() - begin:5.1f} s  {closed:6}  {', '.join(answers) or 'no answer'}")
    assert not any(a.startswith(("2", "5")) and not a.startswith("501") for a in answers), answers
    honest()

# Connections that say nothing. Those beyond what is served at once wait; an honest one gets its turn.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
lines, refused = [], 0
begin = time.monotonic()
for _ in range(min(args.connections, hard - 64)):
    try:
        lines.append(socket.create_connection((place.hostname, place.port), timeout=5))
    except OSError:
        refused += 1
        if refused > 100:
            break
print(f"{len(lines)} idle connections in {time.monotonic() - begin:.1f} s, {refused} refused")
print(f"an honest request beside them takes {honest() * 1000:.0f} ms")
for line in lines:
    line.close()
print(f"and after them {honest() * 1000:.0f} ms\nall is well")
