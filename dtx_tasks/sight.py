"""What a model that sees is handed beside text: the pixels of images, and the tokens that stand for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.auto.auto_mappings import PROCESSOR_MAPPING_NAMES

from dtx_tasks.errors import DataError
from dtx_tasks.plan.architectures import SEEING
from dtx_tasks.template import template_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.template.render import Tokenizer
    from dtx_tasks.template.table import Template

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


class Sight:
    """How a model takes in images.

    Args:
        processor: Of the model, in transformers' form.
        tokenizer: After `adapt`.
        template: Its template, one that has a place for images.
        architecture: As transformers call it.
    """

    def __init__(self, processor: Any, tokenizer: Tokenizer, template: Template, architecture: str) -> None:
        assert template.image is not None
        self._processor, self._around, self._architecture = processor, template.image, architecture
        self._token = processor.image_token
        self._token_id = tokenizer.convert_tokens_to_ids(self._token)

    def texts(self, images: Sequence[Image.Image]) -> list[str]:
        """What the tokenizer is given for each image: its token, as often as the model makes features of the image.

        Args:
            images: As `open_image` gives them.
        """
        before, behind = self._around
        return [f"{before}{self._token_of(image)}{behind}" for image in images]

    def num_tokens(self, text: str) -> int:
        """How many tokens stand for the image of a text.

        Args:
            text: One of `texts`.
        """
        return text.count(self._token)

    def count(self, input_ids: Sequence[int]) -> int:
        """How many tokens stand for images.

        Args:
            input_ids: Token ids of a row.
        """
        return sum(token == self._token_id for token in input_ids)

    def masked(self, input_ids: Sequence[int], labels: Sequence[int], ignored: int) -> list[int]:
        """Labels without those of images, which nobody writes.

        Args:
            input_ids: Token ids of a row.
            labels: As many.
            ignored: The label that stays out of the loss.
        """
        return [ignored if token == self._token_id else label for token, label in zip(input_ids, labels, strict=True)]

    def inputs(self, images: Sequence[Sequence[Image.Image]], input_ids_BT: torch.Tensor, is_asked_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        """What a batch is handed beside its tokens; nothing where it has no image.

        Args:
            images: Of each row, in the order in which they stand in it.
            input_ids_BT: Token ids, padded.
            is_asked_BT: Whether a token stands in front of the answer.

        Returns:
            By the names of the model's arguments: pixels in fp32 as its own processor makes them, and what kind each token is where the model asks for it.
        """
        flat = [image for of_row in images for image in of_row]
        if not flat:
            return {}
        found = dict(self._processor.image_processor(flat, return_tensors="pt"))
        if "mm_token_type_ids" in self._processor.model_input_names:
            found["mm_token_type_ids"] = (input_ids_BT == self._token_id).long()
        if self._architecture == "paligemma":
            # It reads a question about images in both directions (PaliGemma, section 3.1), as its own processor tells it to.
            sees_B1 = torch.tensor([[bool(of_row)] for of_row in images], device=input_ids_BT.device)
            found["token_type_ids"] = (~(is_asked_BT & sees_B1)).long()
        return {name: values.to(input_ids_BT.device) for name, values in found.items()}

    def _token_of(self, image: Image.Image) -> str:
        made = self._processor.image_processor([image], return_tensors="pt")
        return str(self._processor.replace_image_token(made, 0))


def load_sight(folder: Path, architecture: str, tokenizer: Tokenizer) -> Sight | None:
    """How a model takes in images; None where it takes none, or nothing here says how.

    Args:
        folder: With the files of the model's processor and a tokenizer.
        architecture: As transformers call it.
        tokenizer: After `adapt`.
    """
    template = template_of(tokenizer)[1]
    if architecture not in SEEING or template is None or template.image is None or not any((folder / name).exists() for name in PROCESSOR_FILES):
        return None
    return Sight(load_processor(folder, architecture), tokenizer, template, architecture)


def load_processor(folder: Path, architecture: str) -> Any:
    """A model's processor without its part for videos, which transformers 5.23 has only with torchvision.

    Args:
        folder: With its files and a tokenizer.
        architecture: As transformers call it.
    """
    whole: Any = getattr(transformers, PROCESSOR_MAPPING_NAMES[architecture])

    class OfImages(whole):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if "video" not in name]

    return OfImages.from_pretrained(folder)


def copy_processor(source: Path, target: Path) -> None:
    """Copies what a base says of its processor, so that whoever serves a checkpoint sees as it was trained to see.

    Args:
        source: A model folder.
        target: Where a tokenizer or a checkpoint is saved.
    """
    for name in PROCESSOR_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def open_image(path: Path) -> Image.Image:
    """An image in RGB, turned as its camera was held.

    Args:
        path: On this machine.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return load_image(Image.open(path))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"an image cannot be read: {' '.join(str(error).split())}.", "Write it anew, as PNG or JPEG.") from None
