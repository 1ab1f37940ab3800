"""The tables of the online store in an SQL database, and what their columns hold."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql

LONGEST_KEY = 1024
"""Bytes of a key the index of every database takes; of a longer one it has the beginning and a digest."""

_NAME = String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
_KEY = LargeBinary().with_variant(mysql.VARBINARY(LONGEST_KEY), "mysql")
_BYTES = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
_MICROSECONDS = "microseconds since 1970-01-01 UTC; -9223372036854775808: never"


class Tables:
    """The tables of one store.

    Args:
        prefix: What their names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.metadata = MetaData()
        self.views = Table(
            f"{prefix}_online_views",
            self.metadata,
            Column("number", BigInteger, primary_key=True, autoincrement=True, comment="names the view in other tables"),
            Column("name", _NAME, nullable=False, unique=True,
                   comment="VIEW@DIGEST OF ITS DEFINITION/GENERATION; without a generation it says which one answers"),
            Column("width", Integer, comment="bytes of every payload; null: any number"),
            Column("records", BigInteger, nullable=False, comment="how many records there are"),
            Column("newest", BigInteger, comment=f"greatest event time ever written, {_MICROSECONDS}"),
            comment="What the Tidemill online store keeps: one row for each version of a feature view",
        )  # fmt: skip
        number = f"{prefix}_online_views.number"
        self.positions = Table(
            f"{prefix}_online_positions",
            self.metadata,
            Column("view", BigInteger, ForeignKey(number), primary_key=True, autoincrement=False, comment="the view"),
            Column("feed", _NAME, primary_key=True, comment="what is counted"),
            Column("position", BigInteger, nullable=False, comment="how far it got, as of the records there are"),
            comment="How far feeds of views got, written in one transaction with the records",
        )
        self.records = Table(
            f"{prefix}_online_records",
            self.metadata,
            Column("view", BigInteger, ForeignKey(number), comment="the view", primary_key=True, autoincrement=False),
            Column("entity", _KEY, primary_key=True,
                   comment="the key: for each part i, f, s, b, d, t or x for its type, then 8 bytes, or a length and text"),
            Column("event_ts", BigInteger, primary_key=True, autoincrement=False,
                   comment=f"when it happened, {_MICROSECONDS}"),
            Column("created_ts", BigInteger, primary_key=True, autoincrement=False,
                   comment=f"when it became known, {_MICROSECONDS}"),
            Column("ingest_seq", BigInteger, primary_key=True, autoincrement=False,
                   comment="its number in the table of the source"),
            Column("payload", _BYTES, nullable=False,
                   comment="the values: little-endian words, marks of nulls first; msgpack in views of any width"),
            comment="Every row of every feature view by key and time; the newest row of a key is what a model sees now",
        )  # fmt: skip
