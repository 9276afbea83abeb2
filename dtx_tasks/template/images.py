"""Images in a conversation: what stands for each of them in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtx_tasks.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.template.render import Message

IMAGE: Final = "<image>"
"""What a row writes where an image stands."""


def with_images(messages: Sequence[Message], texts: Sequence[str]) -> list[Message]:
    """Turns that know what the tokenizer is given for each `<image>` in them: `images`, beside `content`.

    Args:
        messages: In the form of OpenAI's API.
        texts: One for each image, in the order in which they stand.

    Raises:
        DataError: There are more or fewer of them than places.
    """
    counts = [str(message.get("content") or "").count(IMAGE) for message in messages]
    if sum(counts) != len(texts):
        raise DataError(f"{len(texts)} images for {sum(counts)} {IMAGE} in what is said.", f"Each image stands where {IMAGE} is written.")
    left = iter(texts)
    return [{**message, "images": [next(left) for _ in range(count)]} if count else message for message, count in zip(messages, counts, strict=True)]


def placed(messages: Sequence[Message], *, in_front: bool) -> tuple[str, list[Message]]:
    """What stands in front of all turns, and the turns with what stands for their images.

    Args:
        messages: After `with_images`.
        in_front: Images stand before the text.
    """
    front = "".join(text for message in messages for text in message.get("images", ())) if in_front else ""
    return front, [_placed(message, in_front=in_front) for message in messages]


def _placed(message: Message, *, in_front: bool) -> Message:
    if "images" not in message:
        return message
    # Taken apart, and not replaced: what stands for an image may be the very same word, many times.
    parts = str(message["content"]).split(IMAGE)
    texts = ["" for _ in message["images"]] if in_front else message["images"]
    content = parts[0] + "".join(text + part for text, part in zip(texts, parts[1:], strict=True))
    return {**{key: value for key, value in message.items() if key != "images"}, "content": content}
