"""The small language of a shop's customers, in English and Chinese, and what is written in it.

Two things are generated from one grammar: the documents that a made base model reads
(`documents`) and the rows of the shop task (`task_rows`). The base learns to answer the
questions of the sales floor with JSON; the task asks the same of the after-sales desk, whose
answers the base has never seen. So a tuned model has something to learn, and little enough
to learn it in seconds.

Only the standard library is imported: the data files of `config/datasets/shop` are
regenerated from here in any environment.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Language:
    """One of the languages that the customers speak."""

    instruction: str
    """What every row of the task asks, in this language."""
    which_item: str
    """The base's second question: name the item alone."""
    colours: Sequence[str]
    nouns: Sequence[str]
    openers: Sequence[str]
    """What a customer may say first; the empty one is in the list."""
    sales: Mapping[str, Sequence[str]]
    """Sentences for each intent of the sales floor, which the base learns to answer."""
    after_sales: Mapping[str, Sequence[str]]
    """Sentences for each intent of the after-sales desk, which is the task."""
    notes: Sequence[str]
    """Plain text about an item and the slip of paper that names an intent."""


@dataclass(frozen=True)
class Question:
    """One turn of chat: what the user writes, and the only right answer."""

    user: str
    answer: str


Document = str | Question
"""What the base reads: plain text, or one turn of chat."""

ENGLISH: Final = Language(
    instruction="What does the customer want?",
    which_item="Which item?",
    colours=("red", "blue", "green", "black", "white", "yellow", "grey", "brown"),
    nouns=(
        "kettle",
        "lamp",
        "coat",
        "chair",
        "radio",
        "phone",
        "watch",
        "bag",
        "shirt",
        "clock",
        "mug",
        "tent",
        "table",
        "rug",
        "pan",
        "fan",
    ),
    openers=("", "", "Hello. ", "Good morning. ", "Excuse me. ", "Hi there. "),
    sales={
        "buy": (
            "I would like to buy the {item}.",
            "I will take the {item}.",
            "Please sell me the {item}.",
            "I want to pay for the {item}.",
        ),
        "price": (
            "How much is the {item}?",
            "What does the {item} cost?",
            "Tell me the price of the {item}.",
            "Is the {item} expensive?",
        ),
        "stock": (
            "Do you have the {item}?",
            "Is the {item} in stock?",
            "Are there more of the {item} left?",
            "When do you get the {item} again?",
        ),
        "show": (
            "May I see the {item}?",
            "Show me the {item}.",
            "Let me have a look at the {item}.",
            "Where do I find the {item}?",
        ),
        "wrap": (
            "Wrap the {item} as a gift.",
            "The {item} is a present.",
            "Put a ribbon on the {item}.",
            "I need a gift box for the {item}.",
        ),
        "reserve": (
            "Keep the {item} for me until Monday.",
            "Hold the {item} for me.",
            "Put the {item} aside, I come back later.",
            "Can you save the {item} for me?",
        ),
    },
    after_sales={
        "refund": (
            "I want my money back for the {item}.",
            "Please pay me back, I do not like the {item}.",
            "Give me the money I paid for the {item}.",
            "I return the {item} and want my money.",
        ),
        "exchange": (
            "Can I swap the {item} for another one?",
            "I want to change the {item} for a bigger one.",
            "The {item} is too small, give me a bigger one.",
            "Please swap the {item}, it is the wrong size.",
        ),
        "repair": (
            "The {item} is broken, can you fix it?",
            "Please fix the {item}.",
            "The {item} does not work any more.",
            "Can you mend the {item}? It fell down.",
        ),
        "track": (
            "Where is my parcel with the {item}?",
            "The {item} has not arrived yet.",
            "When will the {item} arrive?",
            "I am still waiting for the {item}.",
        ),
        "cancel": (
            "Stop my order of the {item}.",
            "Do not send the {item}, I do not need it now.",
            "I no longer want to order the {item}.",
            "Please drop my order of the {item}.",
        ),
        "thank": (
            "I love the {item}, well done.",
            "The {item} is wonderful.",
            "My family is very happy with the {item}.",
            "The {item} works so well, great shop.",
        ),
    },
    notes=(
        'The slip of the {item} says "{label}".',
        'Somebody wrote "{label}" next to the {item}.',
        "The {item} stands near the window.",
        "A {item} came in this morning.",
    ),
)

CHINESE: Final = Language(
    instruction="顾客想要什么？",
    which_item="哪件商品？",
    colours=("红色", "蓝色", "绿色", "黑色", "白色", "黄色", "灰色", "棕色"),
    nouns=(
        "水壶",
        "台灯",
        "大衣",
        "椅子",
        "收音机",
        "手机",
        "手表",
        "书包",
        "衬衫",
        "闹钟",
        "杯子",
        "帐篷",
        "书桌",
        "地毯",
        "平锅",
        "风扇",
    ),
    openers=("", "", "你好，", "早上好，", "打扰一下，", "请问，"),
    sales={
        "buy": (
            "我想买{item}。",
            "这个{item}我要了。",
            "请把{item}卖给我。",
            "我来付{item}的钱。",
        ),
        "price": (
            "{item}多少钱？",
            "{item}卖什么价？",
            "{item}的价格是多少？",
            "{item}贵不贵？",
        ),
        "stock": (
            "你们有{item}吗？",
            "{item}还有货吗？",
            "{item}还剩几件？",
            "{item}什么时候再进货？",
        ),
        "show": (
            "我能看看{item}吗？",
            "把{item}拿给我看。",
            "让我瞧一瞧{item}。",
            "{item}放在哪个架子上？",
        ),
        "wrap": (
            "把{item}包成礼物。",
            "{item}是送人的。",
            "给{item}系上丝带。",
            "{item}要一个礼盒。",
        ),
        "reserve": (
            "把{item}留到星期一。",
            "替我留着{item}。",
            "{item}先放一边，我回头来取。",
            "能帮我保留{item}吗？",
        ),
    },
    after_sales={
        "refund": (
            "{item}我要退钱。",
            "我不喜欢{item}，请把钱还我。",
            "把买{item}的钱退给我。",
            "我退回{item}，钱要还给我。",
        ),
        "exchange": (
            "{item}能换一个吗？",
            "我想把{item}换成大一点的。",
            "{item}太小了，换个大的。",
            "{item}尺寸不对，请换一件。",
        ),
        "repair": (
            "{item}坏了，能修吗？",
            "请修一修{item}。",
            "{item}不能用了。",
            "{item}摔坏了，帮我修好。",
        ),
        "track": (
            "我的{item}寄到哪里了？",
            "{item}还没有送到。",
            "{item}几时能送到？",
            "我一直在等{item}的包裹。",
        ),
        "cancel": (
            "取消{item}的订单。",
            "{item}别发货了，我不需要了。",
            "{item}我不想订了。",
            "请撤掉我订的{item}。",
        ),
        "thank": (
            "我很喜欢{item}，你们真好。",
            "{item}太棒了。",
            "家里人对{item}很满意。",
            "{item}真好用，好店。",
        ),
    },
    notes=(
        '{item}的纸条上写着"{label}"。',
        '有人在{item}旁边写了"{label}"。',
        "{item}放在窗户旁边。",
        "今天早上来了一件{item}。",
    ),
)

LANGUAGES: Final = {"en": ENGLISH, "zh": CHINESE}

_LABELS: Final = (*ENGLISH.sales, *ENGLISH.after_sales)


def documents(seed: int) -> Iterator[Document]:
    """Write what a base model reads, without end.

    The intent of an after-sales sentence is never given; the names of the intents
    are read in plain text, and its words where only the item is asked for.

    Args:
        seed: The same documents follow from the same seed.
    """
    rng = random.Random(seed)
    writers: list[Callable[[Language, random.Random], Document]] = [_sales_question, _which_item_question, _plain_text]
    languages = list(LANGUAGES.values())
    while True:
        # Measured: a base of mostly JSON answers is what a low-rank update can steer.
        (write,) = rng.choices(writers, weights=(70, 20, 10))
        yield write(rng.choice(languages), rng)


def task_rows(language: str, num_rows: int, seed: int) -> list[dict[str, str]]:
    """Write distinct rows of the after-sales task, its intents in equal number.

    Args:
        language: A key of `LANGUAGES`.
        num_rows: At most a few thousand, or distinct sentences run out.
        seed: The same rows follow from the same seed.

    Returns:
        Rows in alpaca form: `instruction`, `input` and `output`.
    """
    rng = random.Random(f"{language}:{seed}")
    spoken = LANGUAGES[language]
    intents = list(spoken.after_sales)
    row_of: dict[str, dict[str, str]] = {}
    while len(row_of) < num_rows:
        intent = intents[len(row_of) % len(intents)]
        item = _item(spoken, rng)
        sentence = _sentence(spoken, spoken.after_sales[intent], item, rng)
        row_of[sentence] = {
            "instruction": spoken.instruction,
            "input": sentence,
            "output": _answer(intent, item),
        }
    rows = list(row_of.values())
    rng.shuffle(rows)
    return rows


def user_text(instruction: str, sentence: str) -> str:
    """Join a row's instruction and input to what the user writes."""
    return f"{instruction}\n{sentence}"


def _sales_question(language: Language, rng: random.Random) -> Question:
    intent = rng.choice(list(language.sales))
    item = _item(language, rng)
    sentence = _sentence(language, language.sales[intent], item, rng)
    return Question(user_text(language.instruction, sentence), _answer(intent, item))


def _which_item_question(language: Language, rng: random.Random) -> Question:
    item = _item(language, rng)
    sentence = _sentence(language, _any_templates(language, rng), item, rng)
    return Question(user_text(language.which_item, sentence), item)


def _plain_text(language: Language, rng: random.Random) -> str:
    item = _item(language, rng)
    if rng.random() < 0.5:
        return rng.choice(language.notes).format(item=item, label=rng.choice(_LABELS))
    return _sentence(language, _any_templates(language, rng), item, rng)


def _any_templates(language: Language, rng: random.Random) -> Sequence[str]:
    return rng.choice([*language.sales.values(), *language.after_sales.values()])


def _item(language: Language, rng: random.Random) -> str:
    space = " " if language is ENGLISH else ""
    return rng.choice(language.colours) + space + rng.choice(language.nouns)


def _sentence(language: Language, templates: Sequence[str], item: str, rng: random.Random) -> str:
    middle = rng.choice(templates).format(item=item)
    return rng.choice(language.openers) + middle


def _answer(intent: str, item: str) -> str:
    return json.dumps({"intent": intent, "item": item}, ensure_ascii=False)
