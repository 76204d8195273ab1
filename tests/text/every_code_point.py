"""Every code point beside letters, digits, blanks and line ends: the ids of v4rt and of Hugging Face tokenizers.

every_code_point.py TOKEN_IDS TOKENIZER_JSON: the program that prints v4rt's ids, and a tokenizer with <think> in it.
"""

import array
import subprocess
import sys

import tokenizers

CONTEXTS = ("a {}1", "1{}a", " {}{}", "{}\n")
SEPARATOR = "<think>"  # a control token: what stands before it and what stands after it are encoded apart
CODES_PER_TEXT = 1024


def samples(ids, separator):
    """The ids of each sample; a separator follows each."""
    begin = 0
    for i, token in enumerate(ids):
        if token == separator:
            yield ids[begin:i]
            begin = i + 1


def main():
    program, path = sys.argv[1:]
    reference = tokenizers.Tokenizer.from_file(path)
    separator = reference.token_to_id(SEPARATOR)
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    compared, different = 0, []
    for context in CONTEXTS:
        texts = ["".join(context.replace("{}", chr(code)) + SEPARATOR for code in codes[i:i + CODES_PER_TEXT])
                 for i in range(0, len(codes), CODES_PER_TEXT)]
        output = subprocess.run([program, path], input="".join(texts).encode(), stdout=subprocess.PIPE, check=True).stdout
        ours, theirs = array.array("i", output), array.array("i")
        for encoding in reference.encode_batch_fast(texts):
            theirs.extend(encoding.ids)
        compared += theirs.count(separator)
        if ours != theirs:
            pairs = zip(codes, samples(ours, separator), samples(theirs, separator), strict=True)
            different += [(code, context, a, b) for code, a, b in pairs if a != b]
    print(f"tokenizers {tokenizers.__version__}: {len(different)} of {compared} differ")
    for code, context, a, b in different[:20]:
        print(f"U+{code:04X} in {context!r}: {a.tolist()}, expected {b.tolist()}")
    return 0 if compared == len(CONTEXTS) * len(codes) and not different else 1


sys.exit(main())
