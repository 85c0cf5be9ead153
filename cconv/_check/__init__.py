"""What is checked before any work: every TypeError and ValueError of the library is worded here.

Each sentence says which function and parameter, what was given and what was expected.

- ``params`` - what can be said of a parameter alone: integers, one value an axis, padding, names
- ``arrays`` - what is an array of numbers, which shape and dtype it must have, and `out`
- ``shapes`` - sizes that follow from parameters and arrays together, and the largest ones
"""
