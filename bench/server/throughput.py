"""What HTTP costs: the same requests to a server and to the scheduler without one (v4rt run --parallel), in turns. Both
have the same cores, the clients others where there are some; and what they answer has to be the same.

throughput.py V4RT [MODEL] [--clients 64] [--parallel 16] [--requests 1024] [--rounds 5] [--options "--draft 2"]
"""

import argparse
import http.client
import json
import os
import queue
import random
import re
import statistics
import subprocess
import threading
import time

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("v4rt")
parser.add_argument("model", nargs="?", default="mini")
parser.add_argument("--clients", type=int, default=64)
parser.add_argument("--parallel", type=int, default=16, help="sequences at once")
parser.add_argument("--requests", type=int, default=1024)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--tokens", type=int, default=64, help="of an answer at most")
parser.add_argument("--streamed", type=float, default=0.75, help="which share of the answers is streamed")
parser.add_argument("--server", default="--prefix-cache-memory 0", help="options of the server alone: by default it keeps no prefixes either")
parser.add_argument("--options", default="", help="more options of both, such as '--draft 2'")
args = parser.parse_args()

cores = sorted(os.sched_getaffinity(0))
theirs = cores[: max(1, len(cores) // 2)]
os.sched_setaffinity(0, cores[len(theirs) :] or cores)
COMMON = ["--parallel", str(args.parallel), "--context", "1024", *args.options.split()]
WORDS = "tiger garden violin river stone winter lamp bread ocean paper".split()


def requests(seed):
    r = random.Random(seed)
    return [{"prompt": f"{r.random()}: " + " ".join(r.choices(WORDS, k=r.randint(3, 60))), "max_tokens": r.randint(1, args.tokens),
             "temperature": 1, "seed": r.randrange(1000)} for _ in range(args.requests)]


def start(*command, **options):
    return subprocess.Popen(["taskset", "-c", ",".join(map(str, theirs)), args.v4rt, *command, *COMMON], text=True, **options)


def by_scheduler(asked):
    """Its tokens per second, and its answers in order."""
    lines = "".join(json.dumps({**one, "id": i}) + "\n" for i, one in enumerate(asked))
    run = start("run", args.model, "-f", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, log = run.communicate(lines)
    assert run.returncode == 0, log
    answers = {one["id"]: one["text"] for one in map(json.loads, said.splitlines())}
    return float(re.findall(r"([\d.]+) new tokens/s", log)[-1]), [answers[i] for i in range(len(asked))]


def ask(connection, one, stream):
    """The text and the tokens of an answer."""
    body = {**one, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    if not stream:
        whole = json.loads(answer.read())
        return whole["choices"][0]["text"], whole["usage"]["completion_tokens"]
    events = [json.loads(line[6:]) for line in answer.read().split(b"\n\n") if line.startswith(b"data: {")]
    return "".join(c["text"] for e in events for c in e["choices"]), events[-1]["usage"]["completion_tokens"]


def by_server(port, asked):
    left, answers, tokens = queue.SimpleQueue(), [None] * len(asked), [0] * len(asked)
    for i in range(len(asked)):
        left.put(i)

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        while True:
            try:
                i = left.get_nowait()
            except queue.Empty:
                return connection.close()
            answers[i], tokens[i] = ask(connection, asked[i], i % 100 < 100 * args.streamed)

    begin = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(args.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(tokens) / (time.monotonic() - begin), answers


server = start("serve", args.model, "--port", "0", "--queue", str(args.clients), "--quiet", *args.server.split(), stderr=subprocess.PIPE)
try:
    port = next(int(found[1]) for line in server.stderr if (found := re.search(r"listening at http://\S+:(\d+)", line)))
    ratios = []
    for number in range(args.rounds):
        asked = requests(number)
        alone, expected = by_scheduler(asked)
        served, answers = by_server(port, asked)
        assert answers == expected, next(pair for pair in zip(answers, expected) if pair[0] != pair[1])
        ratios.append(served / alone)
        print(f"scheduler {alone:7.1f} tokens/s, server {served:7.1f}: {ratios[-1]:.3f}, the same answers")
finally:
    server.terminate()
    server.wait()
print(f"the server gives {statistics.median(ratios):.3f} of the scheduler's tokens, each on {len(theirs)} of {len(cores)} cores")
