"""The figures of the README: labs side by side, loads bounded in count and time, results as ratios.

`figures`, `results`, `report`, `svg` and `plans` are pure; `labs` brings labs up, `loads` sends into them, `session`
measures. A benchmark is not a test: what was not reached stays in the table with the number that was measured.
"""
