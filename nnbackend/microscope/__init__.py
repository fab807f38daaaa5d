"""A microscope of one training step: every sum, error, gradient and update of a few rows.

``nnb.explain`` makes an :class:`~nnbackend.microscope.explanation.Explanation`: a table in the terminal,
and a page with the network drawn, which one steps through.
"""
