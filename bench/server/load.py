"""Many clients of a server at once: streams, whole answers, clients that leave, bodies that are wrong, slow readers.

load.py URL [--clients 64] [--seconds 600] [--pid SERVER]   the process whose memory is watched
"""

import argparse
import collections
import http.client
import json
import random
import threading
import time
import urllib.parse

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("url")
parser.add_argument("--clients", type=int, default=64)
parser.add_argument("--seconds", type=float, default=600)
parser.add_argument("--tokens", type=int, default=48, help="of an answer at most")
parser.add_argument("--pid", type=int)
args = parser.parse_args()
place = urllib.parse.urlparse(args.url)

lock = threading.Lock()
counts, wrong, first, gaps = collections.Counter(), collections.Counter(), [], []
tokens = 0
WORDS = "tiger garden violin river stone winter lamp bread ocean paper".split()


def body(r, stream):
    text = " ".join(r.choice(WORDS) for _ in range(r.randint(3, 120)))
    return {"messages": [{"role": "user", "content": f"Repeat after me: {text}"}], "stream": stream, "seed": r.randrange(1000),
            "max_tokens": r.randint(1, args.tokens), "stream_options": {"include_usage": True} if stream else None,
            "thinking": {"type": r.choice(["enabled", "disabled"])}}


def post(text, path="/v1/chat/completions"):
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=300)
    connection.request("POST", path, text, {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def expect(kind, status, *expected):
    with lock:
        counts[f"{kind} {status}"] += 1
        if status not in expected:
            wrong[f"{kind}: status {status}"] += 1


def whole(r):
    global tokens
    connection, answer = post(json.dumps(body(r, False)))
    data = answer.read()
    expect("whole", answer.status, 200, 429)
    if answer.status == 200:
        said = json.loads(data)
        with lock:
            tokens += said["usage"]["completion_tokens"]
    connection.close()


def stream(r, leave=False, slow=False):
    global tokens
    begin = last = time.monotonic()
    connection, answer = post(json.dumps(body(r, True)))
    kind = "leaves" if leave else "slow reader" if slow else "stream"
    expect(kind, answer.status, 200, 429)
    done, seen = answer.status == 429, 0
    while answer.status == 200:
        line = answer.readline()
        if not line:
            break
        if slow:
            time.sleep(0.05)
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if "error" in event:
                with lock:
                    wrong[f"{kind}: {event['error']['message']}"] += 1
            if event.get("usage"):
                with lock:
                    tokens += event["usage"]["completion_tokens"]
            delta = (event.get("choices") or [{}])[0].get("delta", {})
            if delta.get("content") or delta.get("reasoning_content"):
                now = time.monotonic()
                if not slow:
                    with lock:
                        (gaps if seen else first).append(now - (last if seen else begin))
                last, seen = now, seen + 1
                if leave and seen == 3:
                    connection.close()
                    return
        done |= line.startswith(b"data: [DONE]")
    if not done:
        with lock:
            wrong[f"{kind}: the stream ended early"] += 1
    connection.close()


def malformed(r):
    text = json.dumps(body(r, False))
    connection, answer = post(r.choice([text[:-1], text.replace("role", "rôle"), "[]", "", '{"messages":' + "[" * 5000, text.replace('"user"', "7")]))
    answer.read()
    expect("malformed", answer.status, 400)
    connection.close()


def client(number, end):
    r = random.Random(number)
    while time.monotonic() < end:
        act = r.random()
        try:
            if act < 0.5:
                stream(r)
            elif act < 0.75:
                whole(r)
            elif act < 0.85:
                stream(r, leave=True)
            elif act < 0.95:
                malformed(r)
            else:
                stream(r, slow=True)
        except Exception as error:
            with lock:
                wrong[f"{type(error).__name__}: {error}"] += 1


def memory():
    if not args.pid:
        return 0
    with open(f"/proc/{args.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def quantiles(times):
    times = sorted(times)
    return f"p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms" if times else "none"


begin = time.monotonic()
threads = [threading.Thread(target=client, args=(i, begin + args.seconds), daemon=True) for i in range(args.clients)]
for thread in threads:
    thread.start()
time.sleep(args.seconds / 4)
early = memory()
for thread in threads:
    thread.join()
seconds = time.monotonic() - begin
print(f"{args.clients} clients, {seconds:.0f} s, {sum(counts.values())} requests, {tokens / seconds:.0f} tokens/s")
print("first token", quantiles(first))
print("gaps       ", quantiles(gaps))
if args.pid:
    print(f"memory      {early:.0f} MiB after a quarter of the time, {memory():.0f} MiB at the end")
print("answers    ", dict(sorted(counts.items())))
print("wrong      ", dict(wrong) or "nothing")
raise SystemExit(bool(wrong))
