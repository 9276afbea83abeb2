"""What a model that sees is handed beside text: the pixels of images, and the tokens that stand for them."""

from __future__ import annotations

import json
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

        Raises:
            DataError: The model's processor refuses one.
        """
        before, behind = self._around
        return [f"{before}{self._token_of(image)}{behind}" for image in images]

    def refuse_unseen(self, texts: Sequence[str], input_ids: Sequence[int], cutoff_len: int, key: str = "cutoff_len") -> None:
        """Stops where the tokens that stand for images are not those that the model makes features for.

        Args:
            texts: Those of the row's images.
            input_ids: Token ids of the row.
            cutoff_len: The most tokens that it may have: what is longer was cut off.
            key: Where that is set.

        Raises:
            DataError: Images are cut off, or the text holds the token itself.
        """
        wanted, left = sum(text.count(self._token) for text in texts), sum(token == self._token_id for token in input_ids)
        if left > wanted:
            raise DataError(f"its text holds {self._token}, which stands for an image, and there is none.", "Write it in another way.")
        if left < wanted:
            problem = f"its images take {wanted} tokens, of which {left} are left at a {key} of {cutoff_len}."
            raise DataError(problem, f"Half an image cannot be seen: raise {key}, or use smaller images.")

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

        Raises:
            DataError: The model's processor refuses an image.
        """
        flat = [image for of_row in images for image in of_row]
        if not flat:
            return {}
        found = dict(self._made_of(flat))
        if "mm_token_type_ids" in self._processor.model_input_names:
            found["mm_token_type_ids"] = (input_ids_BT == self._token_id).long()
        if self._architecture == "paligemma":
            # It reads a question about images in both directions (PaliGemma, section 3.1), as its own processor tells it to.
            sees_B1 = torch.tensor([[bool(of_row)] for of_row in images], device=input_ids_BT.device)
            found["token_type_ids"] = (~(is_asked_BT & sees_B1)).long()
        return {name: values.to(input_ids_BT.device) for name, values in found.items()}

    def _token_of(self, image: Image.Image) -> str:
        return str(self._processor.replace_image_token(self._made_of([image]), 0))

    def _made_of(self, images: list[Image.Image]) -> Any:
        try:
            return self._processor.image_processor(images, return_tensors="pt")
        except ValueError as error:
            sizes = ", ".join(dict.fromkeys(f"{image.width} x {image.height}" for image in images))
            problem = f"the model's processor refuses an image ({sizes} pixels): {' '.join(str(error).split())}."
            raise DataError(problem, "Use an image of another size, or leave the row out.") from None


def load_sight(folder: Path, architecture: str, tokenizer: Tokenizer) -> Sight | None:
    """How a model takes in images; None where it takes none, or nothing here says how.

    Args:
        folder: With the files of the model's processor and a tokenizer.
        architecture: As transformers call it.
        tokenizer: After `adapt`.
    """
    template = template_of(tokenizer)[1]
    if architecture not in SEEING or template is None or template.image is None or not _has_image_processor(folder):
        return None
    processor = load_processor(folder, architecture)
    # LLaVA's count the tokens of an image by it, and have no default.
    if getattr(processor, "patch_size", 0) is None:
        return None
    return Sight(processor, tokenizer, template, architecture)


def _has_image_processor(folder: Path) -> bool:
    """Whether a folder says what makes pixels: transformers 5 writes it among what the whole processor is, earlier ones beside that."""
    whole = folder / "processor_config.json"
    return (folder / "preprocessor_config.json").exists() or (whole.exists() and "image_processor" in json.loads(whole.read_text(encoding="utf-8")))


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
