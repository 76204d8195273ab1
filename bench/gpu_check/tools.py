"""Other people's compilers: whether they are here, and running them."""
import os
import shlex
import shutil
import subprocess


class Failed(Exception):
    pass


def missing(programs, files=()):
    """Which of these is not here; empty: none."""
    gone = [p for p in programs if not shutil.which(p)] + [f for f in files if not os.path.exists(f)]
    return gone[0] if gone else ""


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failed(shlex.join(command) + "\n" + (done.stdout + done.stderr)[-3000:])
    return done.stdout + done.stderr


def clang(program, triple, library, more, out):
    """The program with the options that it has on a device, with OpenCL's functions from `library`."""
    options = [o for o in program.options.split() if o != "-cl-fp32-correctly-rounded-divide-sqrt"]
    run(["clang-19", "-x", "cl", *options, "-D__OPENCL_VERSION__=120", "-w", "-O3", "-Xclang", "-finclude-default-header",
         "-target", triple, "-Xclang", "-mlink-builtin-bitcode", "-Xclang", library, *more, "-S", program.source, "-o", out])
