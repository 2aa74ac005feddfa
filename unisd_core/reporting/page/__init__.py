"""``report.html``: one self-contained page of a run, or of several side by side.

``run_files`` and ``trajectories`` read a run's folder, ``curves``, ``bars`` and ``timeline`` draw,
``run_page`` and ``comparison_page`` put the page together. No page holds a script or asks for
another file, and every text in it is escaped.
"""
