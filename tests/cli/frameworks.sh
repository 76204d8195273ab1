# The server, by frameworks that agents are made of: LiteLLM, LangChain and Pydantic AI.
. "$(dirname "$0")/lib.sh"
python_with litellm langchain-openai 'pydantic-ai-slim[openai]'
start_server --parallel 3 --quiet
called="frameworks.py" status=0
timeout 240 "$python" "$(dirname "$0")/frameworks.py" "http://127.0.0.1:$port" >"$work/out" 2>"$work/err" || status=$?
exits 0; out_has "all is well"
stop_server 0
finish
