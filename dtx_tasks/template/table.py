"""What every template writes around the parts of a conversation, and how its model knows that an answer is over.

The .jinja files beside this module are made from this table (`make docs`), so that a mark stands in one place.

Source: the renderings in the reference vectors and what is registered under these names in LLaMA-Factory 0.9.5
(baichuan2, cpm, cpm3 and xverse: 0.9.4, the last version that has them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

BOS: Final = "{bos_token}"
"""Stands for the tokenizer's token that begins a text; nothing where it has none."""

EOS: Final = "{eos_token}"
"""Stands for the tokenizer's token that ends a text."""

ToolStyle = Literal["action", "glm4", "llama3", "mistral", "qwen"]

Around = tuple[str, str]
"""What stands before and behind a text."""

TOKENIZERS_OWN: Final = "tokenizer"
"""The name that stands for the chat template which the base model brings."""


@dataclass(frozen=True)
class Template:
    """How one family of models writes a conversation.

    Attributes:
        user: Around what the user says.
        header: What asks for an answer; behind the user's turn and behind a tool's result.
        answer: Around what the assistant says; all of it is learned.
        system: Around the system message.
        prefix: What the text begins with.
        default_system: The system message of a conversation that has none, or an empty one.
        tool: Around what a tool returned; None: as the user's turn.
        call: Around the calls that the assistant makes; None: as an answer.
        tool_style: How tools and calls are written.
        is_system_in_user: The system message is the beginning of the first user turn.
        stops: Tokens that end generation beside the tokenizer's own one.
        replaces_eos: The first of `stops` becomes the tokenizer's eos token.
        ends_once: The eos token stands behind the last answer only. Earlier answers have no end mark of their own, so nothing can be learned about where
            they end, and training on the whole text is refused.
        is_vision: Pictures and films can be part of a conversation; `<image>` and the like stand for them.
        image: Around the tokens of an image; None where rows with images cannot be written.
        are_images_in_front: Images stand before everything else, and not where `<image>` is written.
        pads: Words beside `<image>` and the like that its tokenizer has for what images and films become.
    """

    user: Around
    header: str = ""
    answer: Around = ("", EOS)
    system: Around = ("", "")
    prefix: str = ""
    default_system: str = ""
    tool: Around | None = None
    call: Around | None = None
    tool_style: ToolStyle = "action"
    is_system_in_user: bool = False
    stops: tuple[str, ...] = ()
    replaces_eos: bool = False
    ends_once: bool = False
    is_vision: bool = False
    image: Around | None = None
    are_images_in_front: bool = False
    pads: tuple[str, ...] = ()

    @property
    def end_mark(self) -> str | None:
        """The token of its own that every answer ends with; None where that is the tokenizer's eos."""
        return next((stop for stop in self.stops if stop in self.answer[1]), None)

    @property
    def can_train_on_prompt(self) -> bool:
        """Whether the loss may count the questions too."""
        return not self.ends_once


_CURIOUS_USER = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_CHATML = Template(
    user=("<|im_start|>user\n", "<|im_end|>\n"),
    header="<|im_start|>assistant\n",
    answer=("", "<|im_end|>\n"),
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    stops=("<|im_end|>",),
)
_CHATML_WITH_TOOLS = replace(_CHATML, tool=("<|im_start|>tool\n", "<|im_end|>\n"))
_QWEN = replace(_CHATML, tool=("<|im_start|>user\n<tool_response>\n", "\n</tool_response><|im_end|>\n"), tool_style="qwen", replaces_eos=True)
_VICUNA = Template(user=("USER: ", ""), header=" ASSISTANT:", default_system=_CURIOUS_USER)
_LLAVA = replace(_VICUNA, is_vision=True, image=("", ""))
_GLM4 = Template(
    user=("<|user|>\n", ""),
    header="<|assistant|>",
    answer=("\n", ""),
    system=("<|system|>\n", ""),
    prefix="[gMASK]<sop>",
    tool=("<|observation|>\n", ""),
    call=("", ""),
    tool_style="glm4",
    stops=("<|user|>", "<|observation|>"),
    ends_once=True,
)

TEMPLATES: Final[dict[str, Template]] = {
    "alpaca": Template(
        user=("### Instruction:\n", "\n\n"),
        header="### Response:\n",
        answer=("", f"{EOS}\n\n"),
        default_system="Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n",
    ),
    "baichuan2": Template(user=("<reserved_106>", ""), header="<reserved_107>", answer=("", ""), ends_once=True),
    "chatglm3": replace(_GLM4, prefix="[gMASK]sop"),
    "chatml": replace(_CHATML_WITH_TOOLS, stops=("<|im_end|>", "<|im_start|>"), replaces_eos=True),
    "cohere": Template(
        user=("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        header="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        system=("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        prefix=BOS,
    ),
    "cpm": Template(user=("<用户>", ""), header="<AI>", prefix=BOS),
    "cpm3": replace(_CHATML_WITH_TOOLS, prefix=BOS),
    "deepseek": Template(user=("User: ", "\n\n"), header="Assistant:", system=("", "\n\n"), prefix=BOS),
    "default": Template(user=("Human: ", f"{EOS}\n"), header="Assistant:", answer=("", f"{EOS}\n"), system=("System: ", f"{EOS}\n")),
    "falcon": Template(user=("User: ", "\n"), header="Falcon:", answer=("", "\n"), ends_once=True),
    "gemma": Template(
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        header="<start_of_turn>model\n",
        answer=("", "<end_of_turn>\n"),
        system=("", "\n\n"),
        tool=("<start_of_turn>tool\n", "<end_of_turn>\n"),
        prefix=BOS,
        is_system_in_user=True,
        stops=("<end_of_turn>",),
        replaces_eos=True,
    ),
    "glm4": _GLM4,
    "intern2": replace(
        _CHATML,
        prefix=BOS,
        default_system=(
            "You are an AI assistant whose name is InternLM (书生·浦语).\n"
            "- InternLM (书生·浦语) is a conversational language model that is developed by Shanghai AI Laboratory (上海人工智能实验室). "
            "It is designed to be helpful, honest, and harmless.\n"
            "- InternLM (书生·浦语) can understand and communicate fluently in the language chosen by the user such as English and 中文."
        ),
    ),
    "llama2": Template(user=(f"{BOS}[INST] ", " [/INST]"), system=("<<SYS>>\n", "\n<</SYS>>\n\n"), is_system_in_user=True),
    "llama3": Template(
        user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        header="<|start_header_id|>assistant<|end_header_id|>\n\n",
        answer=("", "<|eot_id|>"),
        system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
        tool=("<|start_header_id|>ipython<|end_header_id|>\n\n", "<|eot_id|>"),
        tool_style="llama3",
        prefix=BOS,
        stops=("<|eot_id|>", "<|eom_id|>"),
        replaces_eos=True,
    ),
    "llava": _LLAVA,
    "llava_next": _LLAVA,
    "llava_next_video": replace(_LLAVA, image=None),
    "mistral": Template(
        user=("[INST] ", "[/INST]"),
        answer=(" ", EOS),
        system=("", "\n\n"),
        tool=('[TOOL_RESULTS] {"content": ', "}[/TOOL_RESULTS]"),
        call=("[TOOL_CALLS] ", EOS),
        tool_style="mistral",
        prefix=BOS,
        is_system_in_user=True,
    ),
    "paligemma": Template(user=("", "\n"), prefix=BOS, is_system_in_user=True, is_vision=True, image=("", ""), are_images_in_front=True),
    "phi": Template(
        user=("<|user|>\n", "<|end|>\n"),
        header="<|assistant|>\n",
        answer=("", "<|end|>\n"),
        system=("<|system|>\n", "<|end|>\n"),
        stops=("<|end|>",),
        replaces_eos=True,
    ),
    "qwen": replace(_QWEN, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "qwen2_vl": replace(
        _QWEN,
        default_system="You are a helpful assistant.",
        is_vision=True,
        image=("<|vision_start|>", "<|vision_end|>"),
        pads=("<|image_pad|>", "<|video_pad|>"),
    ),
    "vicuna": _VICUNA,
    "xverse": Template(user=("Human: ", "\n\n"), header="Assistant: "),
    "yi": _CHATML,
    "yi_vl": Template(
        user=("### Human: ", "\n"),
        header="### Assistant:",
        answer=("", "\n"),
        default_system=(
            "This is a chat between an inquisitive human and an AI assistant. Assume the role of the AI assistant. Read all the images carefully, "
            "and respond to the human's questions with informative, helpful, detailed and polite answers. "
            "这是一个好奇的人类和一个人工智能助手之间的对话。假设你扮演这个AI助手的角色。"
            "仔细阅读所有的图像，并对人类的问题做出信息丰富、有帮助、详细的和礼貌的回答。\n\n"
        ),
        stops=("###",),
        ends_once=True,
        is_vision=True,
    ),
    "yuan": Template(user=("", "<sep>"), answer=("", "<eod>\n"), stops=("<eod>",)),
}
