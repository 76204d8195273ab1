"""Intel: ocloc, the driver's own compiler. It says what it did in files that it writes when asked to."""
import glob
import os
import re
import shutil

import tools
from listing import Instruction, Kernel, first


def missing():
    return tools.missing(["ocloc"])


def read(path, mode="r"):
    with open(path, mode) as file:
        return file.read()


def compile(program, target, base):
    folder = base + ".ocloc"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    dump = {"IGC_ShaderDumpEnable": "1", "IGC_DumpToCurrentDir": "1", "IGC_ShaderDumpPidDisable": "1"}
    tools.run(["ocloc", "compile", "-file", program.source, "-device", target, "-output_no_suffix", "-out_dir", folder, "-output", "p", "-options", program.options],
              env=dict(os.environ, **dump), cwd=folder)
    # A listing for each number of lanes, and again with less unrolling where registers were too few; the kernel is the
    # one whose code is in the program.
    binary = b"".join(read(path, "rb") for path in glob.glob(folder + "/*.kernbin"))
    kept = [path for path in glob.glob(folder + "/*.asm") if read(path[:-4] + ".dat", "rb") in binary]
    texts = {path: read(path) for path in kept}
    texts = {path: text for path, text in texts.items() if text.startswith(f"//.kernel {program.kernel}\n")}
    if len(texts) != 1:
        raise tools.Failed(f"ocloc left {len(texts)} listings of {program} where one is expected")
    (path, text), = texts.items()
    operations = re.findall(r"^\s*(?:\([^)]*\)\s*)?([a-z]\w*)(?:\.[\w.]+)? ?\(", text, re.M)
    kernel = Kernel("simd" + first(r"_simd(\d+)_", path), int(first(r"//\.spill size (\d+)", text)), int(first(r"//\.private memory size (\d+)", text)), 0)
    kernel.instructions = [Instruction(fma=int(name == "mad")) for name in operations]
    return kernel
