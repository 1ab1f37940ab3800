"""SVG elements as text. Whatever goes in is escaped; numbers are rounded so that the text stays short."""

from __future__ import annotations

from html import escape
from typing import Any

from markupsafe import Markup


def element(tag: str, *children: str, **attributes: Any) -> Markup:
    """An element; a text child is escaped unless it is markup already.

    Args:
        tag: Its name.
        children: Elements or text.
        attributes: `_` in a name stands for `-`, an ending `_` is left off; None leaves an attribute out.

    Example:
        >>> element("text", "a < b", class_="label", x=1.23456)
        Markup('<text class="label" x="1.23">a &lt; b</text>')
    """
    written = "".join(
        f' {_name(name)}="{escape(_value(value))}"' for name, value in attributes.items() if value is not None
    )
    inner = "".join(child if isinstance(child, Markup) else escape(str(child), quote=False) for child in children)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def titled(text: str, *children: Markup, href: str | None = None, **attributes: Any) -> Markup:
    """Elements that tell `text` when hovered or read aloud; a link when `href` is given."""
    if href is None:
        return element("g", element("title", text), *children, **attributes)
    return element("a", element("title", text), *children, href=href, aria_label=text, **attributes)


def drawing(width: float, height: float, *children: Markup, label: str, class_: str, role: str = "img") -> Markup:
    """A whole drawing, described by `label`."""
    return element(
        "svg", *children, class_=class_, viewBox=f"0 0 {_value(width)} {_value(height)}", width=width, height=height,
        role=role, aria_label=label,
    )  # fmt: skip


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _value(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
