"""A server that is killed again and again while it answers, each time on the prefix cache that the one before it left on
disk: kills.py V4RT FOLDER KILLS

What was kept before a kill is found after it, and every answer is what a server without that folder gives."""

import collections
import http.client
import itertools
import json
import random
import re
import subprocess
import sys
import threading
import time

v4rt, folder, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
WORDS = "tiger garden violin river stone winter lamp bread ocean paper".split()


def words(seed, count):
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def body(number):
    """Of a beginning that others have too, and of an end that is new."""
    prompt = words(f"beginning {number % 4}", 70) + " " + words(f"end {number}", 50)
    return {"prompt": prompt, "max_tokens": 12, "temperature": 1, "seed": number, "logprobs": 1}


class Server:
    def __init__(self, *options):
        self.process = subprocess.Popen([v4rt, "serve", "mini", "--port", "0", "--quiet", *options], stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"listening at http://\S+:(\d+)", line):
                self.port = int(found[1])
                break
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self.reader.start()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        assert not any("damaged" in line or "cut short" in line for line in self.log), self.log

    def ask(self, number):
        """What it said, and how much of the prompt was kept; nothing when it is killed before the end."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("POST", "/v1/completions", json.dumps(body(number)), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        assert answer.status == 200, data
        said = json.loads(data)
        return said["choices"], said["usage"]["prompt_cache_hit_tokens"]


numbers, answers, kept = itertools.count(), collections.defaultdict(list), 0
moments = random.Random(1)
for _ in range(kills):
    server = Server("--prefix-cache", folder)
    for number in list(answers)[-2:]:  # of the server before
        said, hit = server.ask(number)
        assert hit >= 128, f"{hit} tokens of an answered prompt were kept"
        answers[number].append(said)
        kept += 1

    some = threading.Semaphore(0)

    def client():
        while answer := server.ask(number := next(numbers)):
            answers[number].append(answer[0])
            some.release()

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for _ in range(moments.randint(1, 12)):
        some.acquire(timeout=60)
    time.sleep(moments.uniform(0, 0.05))
    server.kill()
    for one in clients:
        one.join()

plain = Server("--prefix-cache-memory", "0")
for number, said in answers.items():
    expected, hit = plain.ask(number)
    assert hit == 0 and all(one == expected for one in said), (number, said, expected)
plain.kill()
print(f"{kills} kills, {len(answers)} answers, {kept} of them again after a kill: all is well")
