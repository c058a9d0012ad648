"""How far the records of one study are from those of an earlier one: post-processing, free.

  looked    a column's noisy counts in a study's first statistic, whatever its layout
  groups    the few groups of cells on which two studies are compared
  compare   the distance of two columns, what chance alone makes, and a test; closed forms
  result    the verdicts, as plain values

Only the first statistics of both studies are read. The noise of both is Gaussian, independent and
of known size, so what it makes by itself is known too.
"""
