"""What the sites answered, as run folder, release and evidence keep it.

  opened      one round's noisy sum over sites, opened, with all that it depends on
  parts       each site's own signed answer: the evidence
  files       safetensors with one header of ours, read strictly
  statistics  the noisy statistics of a plan, from its opened rounds

Whoever holds an answer can compute the digest that its site's ledger committed to.
"""
