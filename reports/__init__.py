"""Reports: what a run of an audit left, as one page that needs nothing but itself.

    findings    the run's folder -> sums over all rows, and the rows that are shown
    lines       a row -> what is said of it, in words and numbers that teach an attacker nothing
    curves      p-values and those of decoys beside the uniform law;  plots: the same as SVG
    thumbnails  rows -> small pictures, from the sources where they can still be read
    page        all of it -> JSON, and the page that shows just that (page.html, page.css, page.js)

Whatever comes from a source or a row is text to the page: the template escapes it, and the page's policy lets no script
run but its own, nor anything be fetched.
"""
