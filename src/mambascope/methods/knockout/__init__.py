"""Knockout: which tokens does the answer read from, in which layers, and by which route?"""
