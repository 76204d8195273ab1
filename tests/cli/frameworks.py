"""What agents' frameworks do with the server: LiteLLM, LangChain and Pydantic AI. frameworks.py URL"""

import asyncio
import os
import sys

url = sys.argv[1] + "/v1"
os.environ.update(OPENAI_API_KEY="none", LITELLM_LOCAL_MODEL_COST_MAP="True")

import litellm
import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

QUESTION = "What is the capital of France?"
PLAIN = {"thinking": {"type": "disabled"}}


class Place(pydantic.BaseModel):
    """A place."""

    name: str = pydantic.Field(max_length=20)
    people: int = pydantic.Field(ge=1, le=99)
    kind: str | None = pydantic.Field(max_length=8)


def by_litellm():
    ask = dict(model="openai/v4-mini", api_base=url, api_key="none", temperature=0, extra_body=PLAIN)
    said = [{"role": "user", "content": QUESTION}]
    text = litellm.completion(messages=said, **ask).choices[0].message.content
    assert "Paris" in text, text
    chunks = litellm.completion(messages=said, stream=True, **ask)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text
    held = litellm.completion(messages=said, response_format=Place, **ask).choices[0].message.content
    Place.model_validate_json(held)
    try:
        litellm.completion(messages=said, **{**ask, "temperature": 7})
        raise AssertionError("no error")
    except litellm.BadRequestError as error:
        assert "temperature" in str(error)


@tool
def get_weather(city: str) -> str:
    """The weather."""
    return f"sunny in {city}"


def by_langchain():
    model = ChatOpenAI(model="v4-mini", base_url=url, api_key="none", temperature=0, extra_body=PLAIN)
    text = model.invoke(QUESTION).content
    assert "Paris" in text, text
    assert "".join(chunk.content for chunk in model.stream(QUESTION)) == text
    place = model.with_structured_output(Place, method="json_schema").invoke(QUESTION)
    assert isinstance(place, Place), place
    bound = model.bind_tools([get_weather], tool_choice="get_weather", strict=True)
    asked = HumanMessage("What is the weather in Paris?")
    called = bound.invoke([asked])
    assert called.tool_calls[0]["name"] == "get_weather" and set(called.tool_calls[0]["args"]) == {"city"}, called
    result = ToolMessage(get_weather.invoke(called.tool_calls[0]["args"]), tool_call_id=called.tool_calls[0]["id"])
    assert model.bind_tools([get_weather]).invoke([asked, called, result]).response_metadata["finish_reason"]
    responses = ChatOpenAI(model="v4-mini", base_url=url, api_key="none", temperature=0, use_responses_api=True,
                           reasoning={"effort": "none"})
    assert "Paris" in responses.invoke(QUESTION).text


def by_pydantic_ai():
    model = OpenAIChatModel("v4-mini", provider=OpenAIProvider(base_url=url, api_key="none"))
    settings = {"temperature": 0, "extra_body": PLAIN}
    assert "Paris" in Agent(model, model_settings=settings).run_sync(QUESTION).output

    # Its typed answers are calls of a tool that has to be called.
    place = Agent(model, model_settings=settings, output_type=Place).run_sync(QUESTION).output
    assert isinstance(place, Place), place

    async def streamed():
        async with Agent(model, model_settings=settings).run_stream(QUESTION) as answer:
            return await answer.get_output()

    assert "Paris" in asyncio.run(streamed())


for check in (by_litellm, by_langchain, by_pydantic_ai):
    check()
    print(check.__name__)
print("all is well")
