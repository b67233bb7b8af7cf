"""Audits: verdicts on any number of images, whatever holds them, and what they say together.

    sources        folders, lists, archives, tables, URLs -> stretches of images, in an order that stays
    shards         stretches -> shards, the units of work, and the listing that a run keeps of them
    specification  what a verdict depends on, and its digest
    worker         a shard -> a table of rows; the same callable under every engine
    engines        in this process, in several, or on a cluster of Ray: shards through workers
    run            the folder of a run: what is done, what is not, going on, failures tried again
    beginning      a run is begun, or found again as it was asked for
    schema         the columns of a row, declared in one place
    summary        what the rows say together;  statistics: corrections over the run, intervals, decoys

A shard's rows are written whole or not at all, and a shard is done when its file is there and names the same
specification: nothing else is kept of how far a run has come, so nothing can disagree.
"""
