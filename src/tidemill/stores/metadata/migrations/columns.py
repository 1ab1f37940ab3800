"""The columns migrations make, the same in every database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT


def key(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """A text in a key or index."""
    kind = sa.String(191).with_variant(sa.String(191, collation="C"), "postgresql")
    return sa.Column(
        name, kind.with_variant(sa.String(191, collation="utf8mb4_nopad_bin"), "mariadb"), nullable=nullable
    )


def text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """A text of any length."""
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind.with_variant(LONGTEXT(collation="utf8mb4_nopad_bin"), "mariadb"), nullable=nullable)


def integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """A whole number of 64 bits."""
    return sa.Column(name, sa.BigInteger(), nullable=nullable, autoincrement=False)


def number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """A number with fractions."""
    return sa.Column(name, sa.Double(), nullable=nullable)


def boolean(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """True or false."""
    return sa.Column(name, sa.Boolean(), nullable=nullable)
