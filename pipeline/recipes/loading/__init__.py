"""Load recipes: inheritance, variables, matrix, validation; every mistake with its line. What a field means stays in
``model``.
"""
