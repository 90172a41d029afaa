"""Which given labels are probably wrong: labels against what models that have not learnt them think."""
