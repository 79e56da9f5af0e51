"""Prompt templates: the sentences a word is put into before the text tower reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

Template = Callable[[str], str]  # from word to prompt

TEMPLATE_SETS: dict[str, tuple[Template, ...]] = {
    "openai-80": tuple(OPENAI_IMAGENET_TEMPLATES),  # of the CLIP paper; what SCLIP uses
    "simple-7": tuple(SIMPLE_IMAGENET_TEMPLATES),   # the seven best of them, by CLIP's authors
    "photo-1": ("a photo of a {}.".format,),
    "word-1": ("{}".format,),                       # the word as it stands, for whole sentences
}
DEFAULT_TEMPLATES = ("openai-80",)


def resolve_templates(templates: Sequence[str | Template]) -> tuple[Template, ...]:
    """Return a function from word to prompt for each template.

    Args:
        templates: sentences with ``{}`` where the word goes, names in TEMPLATE_SETS, or functions.

    Raises:
        ValueError: no template, or one without exactly one ``{}``.
    """
    if not templates:
        raise ValueError("there is no prompt template; give e.g. 'a photo of a {}.'")
    resolved: list[Template] = []
    for template in templates:
        if callable(template):
            resolved.append(template)
        elif template in TEMPLATE_SETS:
            resolved += TEMPLATE_SETS[template]
        elif template.count("{}") == template.count("{") == template.count("}") == 1:
            resolved.append(template.format)
        else:
            raise ValueError(f"prompt template {template!r} is neither a sentence with one '{{}}' "
                             f"for the word nor one of {', '.join(TEMPLATE_SETS)}")
    return tuple(resolved)
