"""Numbers with honest intervals, from the noisy answers of a release: post-processing, free.

  counted      the noisy tables of counts that a study bought, by columns (`counted_table`)
  blended      what several tables tell of a column or a pair (`pairs`): unbiased, of known noise
  margins      the likely shape of a column, smooth where noise would swamp empty tails
  forms        linear forms of noisy counts, and the exact covariance of their noise
  terms        what a column contributes: a number, a transform, an indicator
  sums         sums over records of terms and of products of two, as the tables give them;
               `groupings` says what groups of cells keep of them
  formula      "y ~ x1 + C(x2)"; `levels` and `design` turn it into terms
  regression   linear, logistic and Poisson models; `moments` and `calibration` are its parts
  groups       means, shares, differences and counts, by group
  quantiles    quantiles, by inverting the distribution function
  result       estimates with their intervals; `plot` draws them
  ask          questions to a release

Two errors are counted. The noise of the answers is Gaussian, independent and of known size, so its
part of every variance is exact to first order. How records were sampled from their population is
estimated on rows drawn from the release's generator, which serve for nothing but this and what no
pair of columns can tell.
"""
