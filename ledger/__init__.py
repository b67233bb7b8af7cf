"""What was marked: which numbers were issued, when and by whom, with what, and what the picture looked like.

row         what is known of one image
seals       by which a row that was changed or swapped is known
place       a file of SQLite, or a database of PostgreSQL
schema      the tables, and the steps from earlier versions
numbers     issuers, their ranges and their counters
store       the ledger: reserve, register, find, search
manifests   copies of signed ones, found again when a picture lost its own
check       what is wrong with one;  merge  another one in;  export  to CSV, JSON Lines and Parquet
likeness    what a picture looked like;  transplant  whether this one is it;  account  all that is known of one
"""

from __future__ import annotations

from .query import Query
from .row import Issuer, Row
from .seals import Seals
from .store import Ledger

__all__ = ["Issuer", "Ledger", "Query", "Row", "Seals"]
