"""What is wrong with a design, or with a lab that is up. Pure: a topology, a plan and the answers of processes in,
findings out.

`talk` says who talks to whom, `ways` what is wrong with an exchange, `standing`, `hints`, `balancing` and `instances`
what no exchange shows; `candidates` has the changes that may mend a fault and `mends` tries them. `review` composes.
"""
