"""Writes the Jinja file of every template, and the page about them, from the table in dtx_tasks.template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dtx_tasks.template.table import BOS, EOS, TEMPLATES

if TYPE_CHECKING:
    from dtx_tasks.template.table import Template, ToolStyle

HEAD = """\
{{#- dtx-tasks template: {name}. Made from dtx_tasks/template/table.py by `make docs`. -#}}
{{%- set bos = bos_token or '' -%}}
{{%- set eos = eos_token or '' -%}}
{{%- set has_system = messages[0]['role'] == 'system' -%}}
{{%- set turns = messages[1:] if has_system else messages -%}}
{{%- set system = (messages[0]['content'] if has_system else '') or {default_system} -%}}
{{%- set has_tools = tools is defined and tools is not none -%}}
{{%- if has_tools and tools -%}}
{tools}
{{%- set system = system + listed.text -%}}
{{%- endif -%}}
{{{{- {prefix} -}}}}
"""

SYSTEM_TURN = """\
{{%- if system or has_tools -%}}
{{{{- {system} -}}}}
{{%- endif -%}}
"""

SYSTEM_IN_USER = """\
{{%- if system or has_tools -%}}
{{%- set system = {system} -%}}
{{%- endif -%}}
"""

BODY = """\
{{%- for message in turns -%}}
{{%- set text = message['content'] or '' -%}}
{{%- set before = 'assistant' if loop.first else loop.previtem['role'] -%}}
{{%- set after = '' if loop.last else loop.nextitem['role'] -%}}
{{%- set end = {end} -%}}
{{%- if message['role'] == 'user' and before == 'assistant' -%}}
{{{{- {user} -}}}}
{{%- elif message['role'] == 'tool' and before in ('assistant', 'tool') -%}}
{{{{- '{next_result}' if before == 'tool' else {tool_open} -}}}}
{{{{- text -}}}}
{{{{- '' if after == 'tool' else {tool_close} -}}}}
{{%- elif message['role'] == 'assistant' and before in ('user', 'tool') -%}}
{{%- if message.get('tool_calls') -%}}
{calls}
{{%- generation -%}}{{{{- {call} + end -}}}}{{%- endgeneration -%}}
{{%- else -%}}
{{%- generation -%}}{{{{- {answer} + end -}}}}{{%- endgeneration -%}}
{{%- endif -%}}
{{%- else -%}}
{{{{- raise_exception('the role ' ~ message['role'] ~ ' stands where it cannot: a user or tool asks, then the assistant answers, and system stands first') -}}}}
{{%- endif -%}}
{{%- if message['role'] != 'assistant' and after != 'tool' and (add_generation_prompt or not loop.last) -%}}
{{{{- {header} -}}}}
{{%- endif -%}}
{{%- endfor -%}}
"""

NEXT_RESULT = r"\n</tool_response>\n<tool_response>\n"
"""Between results that came back together. It is Qwen's, and in all templates: rows of calls made at once were always laid out so."""

ACTION_TOOLS = """\
{%- set listed = namespace(text='You have access to the following tools:\\n', names=[]) -%}
{%- for tool in tools -%}
{%- set function = tool['function'] if tool.get('type') == 'function' else tool -%}
{%- set schema = function.get('parameters') or {} -%}
{%- set listed.names = listed.names + [function['name']] -%}
{%- set listed.text = listed.text ~ '> Tool Name: ' ~ function['name'] ~ '\\nTool Description: ' ~ function.get('description', '') ~ '\\nTool Args:\\n' -%}
{%- for name, value in (schema.get('properties') or {}).items() -%}
{%- set needed = ', required' if name in (schema.get('required') or []) else '' -%}
{%- set choices = ', should be one of [' ~ value.get('enum') | join(', ') ~ ']' if value.get('enum') else '' -%}
{%- set items = ', where each item should be ' ~ value.get('items').get('type', '') if value.get('items') else '' -%}
{%- set listed.text = listed.text ~ '  - ' ~ name ~ ' (' ~ value.get('type', '') ~ needed ~ '): ' ~ value.get('description', '') ~ choices ~ items ~ '\\n' -%}
{%- endfor -%}
{%- set listed.text = listed.text ~ '\\n' -%}
{%- endfor -%}
{%- set listed.text = listed.text ~ 'Use the following format if using a tool:\\n```\\nAction: tool name (one of [' ~ listed.names | join(', ') ~ '])\\n' -%}
{%- set listed.text = listed.text ~ 'Action Input: the input to the tool, in a JSON format representing the kwargs ' -%}
{%- set listed.text = listed.text ~ '(e.g. ```{"input": "hello world", "num_beams": 5}```)\\n```\\n' -%}"""

GLM4_TOOLS = """\
{%- set listed = namespace(text='你是一个名为 ChatGLM 的人工智能助手。你是基于智谱 AI 公司训练的语言模型 GLM-4 模型开发的，') -%}
{%- set listed.text = listed.text ~ '你的任务是针对用户的问题和要求提供适当的答复和支持。\\n\\n# 可用工具' -%}
{%- for tool in tools -%}
{%- set function = tool['function'] if tool.get('type') == 'function' else tool -%}
{%- set listed.text = listed.text ~ '\\n\\n## ' ~ function['name'] ~ '\\n\\n' ~ function | tojson(indent=4) -%}
{%- set listed.text = listed.text ~ '\\n在调用上述函数时，请使用 Json 格式表示调用的参数。' -%}
{%- endfor -%}"""

LLAMA3_TOOLS = """\
{#- Meta's own template has this date too. Today's would make other token ids every day. -#}
{%- set today = date_string if date_string is defined else '26 Jul 2024' -%}
{%- set listed = namespace(text='Cutting Knowledge Date: December 2023\\nToday Date: ' ~ today ~ '\\n\\n') -%}
{%- set listed.text = listed.text ~ 'You have access to the following functions. To call a function, please respond with JSON for a function call. ' -%}
{%- set listed.text = listed.text ~ 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. ' -%}
{%- set listed.text = listed.text ~ 'Do not use variables.\\n\\n' -%}
{%- for tool in tools -%}
{%- set wrapped = tool if tool.get('type') == 'function' else {'type': 'function', 'function': tool} -%}
{%- set listed.text = listed.text ~ wrapped | tojson(indent=4) ~ '\\n\\n' -%}
{%- endfor -%}"""

MISTRAL_TOOLS = """\
{%- set listed = namespace(all=[]) -%}
{%- for tool in tools -%}
{%- set listed.all = listed.all + [tool if tool.get('type') == 'function' else {'type': 'function', 'function': tool}] -%}
{%- endfor -%}
{%- set listed.text = '[AVAILABLE_TOOLS] ' ~ listed.all | tojson ~ '[/AVAILABLE_TOOLS]' -%}"""

QWEN_TOOLS = """\
{%- set listed = namespace(text='\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n') -%}
{%- set listed.text = listed.text ~ 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -%}
{%- for tool in tools -%}
{%- set wrapped = tool if tool.get('type') == 'function' else {'type': 'function', 'function': tool} -%}
{%- set listed.text = listed.text ~ '\\n' ~ wrapped | tojson -%}
{%- endfor -%}
{%- set listed.text = listed.text ~ '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within ' -%}
{%- set listed.text = listed.text ~ '<tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": <function-name>, ' -%}
{%- set listed.text = listed.text ~ '"arguments": <args-json-object>}\\n</tool_call>' -%}"""

TOOLS: dict[ToolStyle, str] = {
    "action": ACTION_TOOLS,
    "glm4": GLM4_TOOLS,
    "llama3": LLAMA3_TOOLS,
    "mistral": MISTRAL_TOOLS,
    "qwen": QWEN_TOOLS,
}
"""Each sets `listed.text`, from `tools`."""

EACH_CALL = """\
{{%- set called = namespace(all={first}) -%}}
{{%- for call in message['tool_calls'] -%}}
{{%- set name, arguments = call['function']['name'], call['function']['arguments'] -%}}
{{%- set called.all = called.all + [{one}] -%}}
{{%- endfor -%}}
{{%- set called.text = {together} -%}}"""

ONLY_CALLS = """\
{%- if text -%}
{{- raise_exception('a message holds text and tool calls, and the model can write one of them: move the text, or remove it') -}}
{%- endif -%}
"""

ONE_CALL = """\
{%- if message['tool_calls'] | length > 1 -%}
{{- raise_exception('a message holds several tool calls, and the model makes one at a time: put each into its own message, with its result behind it') -}}
{%- endif -%}
"""

JSON_LIST = "called.all[0] if called.all | length == 1 else '[' ~ called.all | join(', ') ~ ']'"

CALLS: dict[ToolStyle, str] = {
    "action": EACH_CALL.format(
        first="[text] if text else []", one="'Action: ' ~ name ~ '\\nAction Input: ' ~ arguments | tojson", together="called.all | join('\\n')"
    ),
    "glm4": ONLY_CALLS + ONE_CALL + EACH_CALL.format(first="[]", one="name ~ '\\n' ~ arguments | tojson", together="called.all[0]"),
    "llama3": ONLY_CALLS
    + EACH_CALL.format(first="[]", one="""'{"name": ' ~ name | tojson ~ ', "parameters": ' ~ arguments | tojson ~ '}'""", together=JSON_LIST),
    "mistral": ONLY_CALLS
    + EACH_CALL.format(
        first="[]",
        one="""'{"name": ' ~ name | tojson ~ ', "arguments": ' ~ arguments | tojson ~ '}'""",
        together="'[' ~ called.all | join(', ') ~ ']'",
    ),
    "qwen": EACH_CALL.format(
        first="[text] if text else []",
        one="""'<tool_call>\\n{"name": ' ~ name | tojson ~ ', "arguments": ' ~ arguments | tojson ~ '}\\n</tool_call>'""",
        together="called.all | join('\\n')",
    ),
}
"""Each sets `called.text`, from `message`."""


def jinja_of(name: str, template: Template) -> str:
    """The Jinja file of one template."""
    head = HEAD.format(
        name=name, default_system=_sum(*_literals(template.default_system)), prefix=_sum(*_literals(template.prefix)), tools=TOOLS[template.tool_style]
    )
    system = (SYSTEM_IN_USER if template.is_system_in_user else SYSTEM_TURN).format(system=_around(template.system, "system"))
    return head + system + _body(template)


def _body(template: Template) -> str:
    tool, call = template.tool or template.user, template.call or template.answer
    system = ["(system if loop.first else '')"] if template.is_system_in_user else []
    return BODY.format(
        end="eos if loop.last else ''" if template.ends_once else "''",
        user=_around(template.user, *system, "text"),
        next_result=NEXT_RESULT,
        tool_open=_sum(*_literals(tool[0])),
        tool_close=_sum(*_literals(tool[1])),
        calls=CALLS[template.tool_style],
        call=_around(call, "called.text"),
        answer=_around(template.answer, "text"),
        header=_sum(*_literals(template.header)),
    )


def _around(around: tuple[str, str], *names: str) -> str:
    return _sum(*_literals(around[0]), *names, *_literals(around[1]))


def _sum(*expressions: str) -> str:
    return " + ".join(expressions) or "''"


def _literals(text: str) -> list[str]:
    """A text as Jinja expressions."""
    variables = {BOS: "bos", EOS: "eos"}
    return [variables.get(part) or _quoted(part) for part in re.split(f"({BOS}|{EOS})", text) if part]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


PAGE = """\
# Templates

Generated by `make docs` from dtx_tasks/template/table.py. `template` of an LLM names one of these, or `tokenizer` for the chat template that the model brings.

A template is one Jinja file. It is saved with the tokenizer of the prepared rows and of every checkpoint: training, scoring and serving write the same text.
Its `{% generation %}` marks say what is learned: the answers, with what ends them.

| template | ends an answer | system message | default system message | tools | vision model | loss on the question |
| --- | --- | --- | --- | --- | --- | --- |
"""

NOTES = """
- A system message that is missing or empty brings the default back.
- *after the last* means that earlier answers of a conversation have no end mark: where they end is not learned, and the loss cannot count the questions.
- Any template can be given tools; without a form of its own it uses `Action:` and `Action Input:`. GLM makes one call at a time.
- Vision models: a text that says `<image>`, `<video>` or `<audio>`, which stand for a file there, is refused where there is none.
  Images of a row stand where `<image>` is written, or in `paligemma` in front of the text; `llava_next_video` and `yi_vl` take none.
- Too long a conversation is cut turn by turn: question and answer share what is left of `cutoff_len`, each keeps its beginning.
  Turns that find no room are left out. The answer gets what it needs as long as it is the smaller part. With `mask_history` the last turn comes first.
- The tokenizer must have the mark that ends an answer as one token. If it has not, the template is refused: the base model has no weights for it.
- A model's own template is used as it is. Where it has no generation marks, what it writes behind the prompt is the answer;
  where it changes earlier turns when later ones follow (thinking that is dropped), only the last answer can be learned, with `mask_history`.
"""


def page() -> str:
    """docs/templates.md."""
    return PAGE + "".join(map(_row, TEMPLATES, TEMPLATES.values())) + NOTES


def _row(name: str, template: Template) -> str:
    end = f"`{template.end_mark}`" if template.end_mark else "its eos, after the last" if template.ends_once else "its eos"
    system = "in the first question" if template.is_system_in_user else "own turn" if any(template.system) else "bare, in front"
    cells = [f"`{name}`", end, system, _shortened(template.default_system), template.tool_style, _said(template.is_vision), _said(template.can_train_on_prompt)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _said(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
