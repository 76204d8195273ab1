#!/usr/bin/env bash
# every_code_point.py, where reference.sh could fetch what it needs; otherwise left out (77). Arguments: the program
# token_ids, reference.sh's folder.
if [ ! -f "$2/tokenizer.json" ]; then
  echo "$2/tokenizer.json is not there; tests/text/reference.sh fetches it"
  exit 77
fi
exec "$2/bin/python" "${0%.sh}.py" "$1" "$2/tokenizer.json"
