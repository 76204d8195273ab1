"""What Python costs: Session.generate() of the package beside v4rt_generate() of the library, in one process, turn and
turn about. python_bench.py LIBV4RT_SO [PAIRS] [TOKENS]"""

import ctypes
import statistics
import struct
import sys
import time

import v4rt

PROMPT = [0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17]
library = ctypes.CDLL(sys.argv[1])
library.v4rt_last_error.restype = ctypes.c_char_p
pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 101
tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 200


def ok(status):
    if status != 0:
        raise RuntimeError(library.v4rt_last_error())


def opened(function, *arguments):
    handle = ctypes.c_void_p()
    ok(function(*arguments, ctypes.byref(handle)))
    return handle


options = bytearray(96)  # v4rt_model_options up to `threads`
struct.pack_into("N", options, 0, len(options))
struct.pack_into("i", options, 92, 1)
c_model = opened(library.v4rt_model_open, v4rt.mini().encode(), bytes(options))
c_session = opened(library.v4rt_session_open, c_model)
generating = struct.pack("NqiiiI", 32, tokens, 0, 1, 0, 0)  # v4rt_generate_options: to the end of `tokens`
go_on = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)  # an on_token in C: never 0
prompt = (ctypes.c_int32 * len(PROMPT))(*PROMPT)

session = v4rt.Session(v4rt.Model(v4rt.mini(), threads=1))


def by_c():
    ok(library.v4rt_session_reset(c_session, 0))
    ok(library.v4rt_generate(c_session, prompt, ctypes.c_size_t(len(PROMPT)), generating, None, go_on, None, None))


def by_python():
    session.reset()
    assert len(list(session.generate(PROMPT, max_tokens=tokens, ignore_end_token=True))) == tokens


def microseconds(way):
    start = time.perf_counter()
    way()
    return (time.perf_counter() - start) * 1e6 / tokens


by_c(), by_python()
times = {by_c: [], by_python: []}
for pair in range(pairs):
    for way in (by_c, by_python) if pair % 2 == 0 else (by_python, by_c):
        times[way].append(microseconds(way))
ratio = statistics.median(python / c for c, python in zip(times[by_c], times[by_python]))
print(f"C {statistics.median(times[by_c]):.2f} us a token, Python {statistics.median(times[by_python]):.2f}: {100 * (ratio - 1):+.2f} %")
