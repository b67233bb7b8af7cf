"""Where the images of an audit are: files, archives and tables, here or anywhere that fsspec reaches.

places    a path or a URL -> its bytes, and by what one sees that they changed
archives  zip, tar and WebDataset shards
tables    Parquet, Arrow and Lance with a column of images or of paths
listing   what the user names -> stretches
stretch   some images of one source; :func:`members` reads them
"""

from __future__ import annotations

from .listing import find
from .reading import members
from .stretch import Member, Stretch

__all__ = ["Member", "Stretch", "find", "members"]
