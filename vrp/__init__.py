"""Learning to solve vehicle routing problems, after Nazari et al. (2018)."""
