"""What is wrong with a design, or with a lab that is up. Pure: a topology, a plan and the answers of processes in,
findings out.
"""
